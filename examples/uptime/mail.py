"""Mail: sent by real SMTP, to a small server of our own.

To send to the world, set ``UPTIME_SMTP=host:port``; nothing else changes.
"""

import smtplib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

SENDER = "uptime@example.com"


def send(server: tuple[str, int], to: str, subject: str, text: str) -> None:
    """Send one mail. Blocks: it is for threads."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, to, subject
    message.set_content(text)
    with smtplib.SMTP(*server, timeout=10) as smtp:
        smtp.send_message(message)


class MailSink:
    """An SMTP server (RFC 5321, what a client needs of it) that hands on what it receives.

    Args:
        deliver: called with receiver, subject and text of each mail.

    """

    def __init__(self, deliver: Callable[[str, str, str], Awaitable[None]]) -> None:
        self._deliver = deliver
        self.address = ("127.0.0.1", 0)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listener = await anyio.create_tcp_listener(local_host=self.address[0])
        self.address = (self.address[0], listener.extra(SocketAttribute.local_port))
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._talk)
            yield
            group.cancel_scope.cancel()

    async def _talk(self, stream: ByteStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        async with stream:
            await stream.send(b"220 uptime sink\r\n")
            try:
                while (line := await lines.receive_until(b"\r\n", 4096)).upper() != b"QUIT":
                    if line.upper() == b"DATA":
                        await stream.send(b"354 end with a dot\r\n")
                        await self._receive(lines)
                    known = line[:4].upper() in (
                        b"EHLO",
                        b"HELO",
                        b"MAIL",
                        b"RCPT",
                        b"DATA",
                        b"RSET",
                        b"NOOP",
                    )
                    await stream.send(b"250 ok\r\n" if known else b"502 not here\r\n")
                await stream.send(b"221 bye\r\n")
            except (
                anyio.EndOfStream,
                anyio.IncompleteRead,
                anyio.DelimiterNotFound,
                anyio.BrokenResourceError,
            ):
                pass  # the client has gone

    async def _receive(self, lines: BufferedByteReceiveStream) -> None:
        body: list[bytes] = []
        while (line := await lines.receive_until(b"\r\n", 65536)) != b".":
            body.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        mail = message_from_bytes(b"\r\n".join(body), policy=policy.default)
        await self._deliver(str(mail["To"]), str(mail["Subject"]), str(mail.get_content()))
