"""The main job under real servers: uvicorn on asyncio and uvloop, hypercorn on both backends, granian.

Real time, because servers are other processes.
"""

from __future__ import annotations

import json
import socket

import pytest

from tests.servers.conftest import Server
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real_time

EXPECTED = {
    "uvicorn-asyncio": ("asyncio", "asyncio"),
    "uvicorn-uvloop": ("asyncio", "uvloop"),
    "hypercorn-asyncio": ("asyncio", "asyncio"),
    "hypercorn-trio": ("trio", "trio"),
    "granian": ("asyncio", None),
}


def test_it_is_the_loop_that_it_is_meant_to_be(server: Server, request: pytest.FixtureRequest) -> None:
    library, loop = EXPECTED[request.node.callspec.params["server"]]
    answer = server.client.get("/").json()
    assert answer["library"] == library
    assert loop in (None, answer["loop"])


def test_an_interval_ticks_beside_a_job_that_always_fails(server: Server) -> None:
    server.until_logged("event RunUnsuccessful broken failed ", times=3)
    server.until_logged("tick", times=3)
    assert server.client.get("/").status_code == 200


@pytest.mark.parametrize("job, result", [("note", "HI"), ("in_thread", "thread hi")])
def test_a_handler_awaits_the_result_of_a_one_off(server: Server, job: str, result: str) -> None:
    answer = server.client.post(f"/run/{job}", json=["hi"])
    assert answer.json()["result"] == result


def test_a_process_job_runs_in_another_process(server: Server) -> None:
    own = server.client.get("/").json()["pid"]
    assert server.client.post("/run/in_process", json=[]).json()["result"] != own


def test_a_sync_handler_schedules_from_its_worker_thread(server: Server) -> None:
    run = server.client.post("/sync/note", json=["sync"]).json()["id"]
    assert server.client.get(f"/wait/{run}").json() == {"state": "succeeded", "result": "SYNC"}


def test_a_one_off_outlives_its_request(server: Server) -> None:
    run = server.client.post("/later/note", json=["later"], params={"delay": 0.1}).json()["id"]
    assert server.client.get(f"/wait/{run}").json()["state"] == "succeeded"


def test_a_one_off_survives_that_its_client_hangs_up(server: Server) -> None:
    body = json.dumps(["gone"]).encode()
    with connect(server) as connection:
        connection.sendall(
            b"POST /later/note?delay=0.3&hang=1 HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        server.until_logged("hangs for 1 s")
    server.until_logged("note gone")


def test_a_websocket_finds_the_scheduler(server: Server) -> None:
    assert talk(server, "hello") == "HELLO"


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def talk(server: Server, text: str) -> str:
    """Send one text over a websocket by hand, and return the answer."""
    with connect(server) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        received = b""

        def answered() -> bool:
            nonlocal received
            received += connection.recv(4096)
            return b"\r\n\r\n" in received

        until(answered, lambda: f"The handshake: {received!r}")
        assert b"101" in received.split(b"\r\n")[0], received
        payload = text.encode()
        connection.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        frame = received.partition(b"\r\n\r\n")[2]
        while len(frame) < 2 or len(frame) < 2 + frame[1]:
            frame += connection.recv(4096)
        return frame[2 : 2 + frame[1]].decode()
