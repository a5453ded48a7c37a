"""The main job under real servers: uvicorn on asyncio and uvloop, hypercorn on both backends, granian.

Real time, because servers are other processes.
"""

from __future__ import annotations

import contextlib
import socket

import httpx
import pytest

from tests.servers.conftest import Server, until

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
    with contextlib.suppress(httpx.ReadTimeout):
        server.client.post(
            "/later/note", json=["gone"], params={"delay": 0.3, "hang": 1}, timeout=httpx.Timeout(5, read=0.1)
        )
    server.until_logged("note gone")


def test_a_websocket_finds_the_scheduler(server: Server) -> None:
    assert talk(server.port, "hello") == "HELLO"


def talk(port: int, text: str) -> str:
    """Send one text over a websocket by hand, and return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        received = b""

        def answered() -> bool:
            nonlocal received
            received += connection.recv(4096)
            return b"\r\n\r\n" in received

        until(answered, 5, "the handshake")
        assert b"101" in received.split(b"\r\n")[0], received
        payload = text.encode()
        connection.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        frame = received.partition(b"\r\n\r\n")[2]
        while len(frame) < 2 or len(frame) < 2 + frame[1]:
            frame += connection.recv(4096)
        return frame[2 : 2 + frame[1]].decode()
