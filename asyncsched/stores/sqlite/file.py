"""The file of a SQLite store: its address, its file system, and its locks with their holders."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asyncsched._core.errors import ConfigurationError, StoreError, StoreUnavailable

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse.sshfs", "fuse.glusterfs"}
)
_WRITE_LOCK = 120
"""The byte of the ``-shm`` file that a process locks while it writes into the write-ahead log."""


def path_of(url: str) -> Path:
    """Return the path in ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        ConfigurationError: the URL names no file.

    """
    rest = url.removeprefix("sqlite:")
    if not rest.startswith("///") or rest == "///" or "?" in rest:
        raise ConfigurationError(
            "store: a SQLite URL is sqlite:///relative.db or sqlite:////absolute/path.db, with three or "
            "four slashes"
        )
    if rest == "///:memory:":
        raise ConfigurationError(
            "store: SQLite's :memory: database ends with its connection; leave store out to keep runs in memory"
        )
    return Path(rest[3:])


def check_place(path: Path, mounts: str = "/proc/mounts") -> None:
    """Refuse a path in a missing folder, or on a network, where SQLite's write-ahead log cannot work.

    Raises:
        StoreError: the path is on a network file system.
        StoreUnavailable: the folder of the path does not exist.

    """
    kind = _file_system(path.absolute(), mounts)
    if kind in _REMOTE:
        raise StoreError(
            f"{path} is on a network file system ({kind}), where SQLite's write-ahead log cannot work; use a "
            "local disk, or PostgreSQL for several hosts"
        )
    if not path.parent.is_dir():
        raise StoreUnavailable(
            f"{path} cannot be opened: there is no folder {path.parent}; make that folder first"
        )


def _file_system(path: Path, mounts: str) -> str:
    kind, longest = "", -1
    for line in _lines(mounts):
        fields = line.split()
        if len(fields) > 2 and path.is_relative_to(fields[1]) and len(fields[1]) >= longest:
            kind, longest = fields[2], len(fields[1])
    return kind


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text("utf-8", "replace").splitlines()
    except OSError:  # only Linux has such files
        return []


# ── the lock for opening the file ────────────────────────────────────────────────────────────────

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def opening(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock file beside the database while the block runs, as far as the system has locks."""
    deadline = time.monotonic() + timeout
    try:
        fd = os.open(f"{path}-open", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a read-only folder: the error of SQLite explains it better
        yield
        return
    try:
        while time.monotonic() < deadline:
            try:
                _lock(fd)
                break
            except OSError:
                time.sleep(0.01)
        # The lock may be missing here, as behind a stopped process: the locks of SQLite hold in any case.
        yield
    finally:
        os.close(fd)


class Rights:
    """The rights of the files that SQLite has beside a file, once that may be written to again.

    SQLite makes its log and its index with the rights that the file has at that moment, and what one connection of a
    process has opened read-only, all share until the last of them is closed.

    Attributes:
        restored: how often the rights were given; a connection from before is to be closed.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.restored = 0

    def restore(self) -> None:
        """Give the log and the index the rights of the file, if that can be written to."""
        if not os.access(self._path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            return
        for beside in ("-wal", "-shm"):
            with suppress(OSError):  # it is not there, or another user's
                os.chmod(f"{self._path}{beside}", self._path.stat().st_mode & 0o777)
        self.restored += 1


# ── the holder of the write lock ─────────────────────────────────────────────────────────────────


def lock_holder(path: Path, locks: str = "/proc/locks") -> str:
    """Return a description of the process that holds the write lock, as far as the system knows it."""
    pid = _holder(path, locks)
    if pid is None:
        return "another process or connection"
    name, state = _name_and_state(pid)
    process = "this process" if pid == os.getpid() else f"process {pid}"
    return f"{process}{f' ({name})' if name else ''}{', which is stopped,' if state in ('T', 't') else ''}"


def lock_is_ours(path: Path, locks: str = "/proc/locks") -> bool:
    """Return whether a connection of this process is known to hold the write lock."""
    return _holder(path, locks) == os.getpid()


def _holder(path: Path, locks: str) -> int | None:
    """Return the id of the process that holds the write lock, if Linux shows it."""
    try:
        inode = str(os.stat(f"{path}-shm").st_ino)
    except OSError:
        return None
    for line in _lines(locks):
        fields = line.split()  # number:, kind, mode, access, pid, device:inode, first byte, last byte
        if len(fields) != 8 or fields[3] != "WRITE" or fields[5].rpartition(":")[2] != inode:
            continue
        pid, first, last = fields[4], int(fields[6]), fields[7]
        if first <= _WRITE_LOCK and (last == "EOF" or int(last) >= _WRITE_LOCK) and pid.isdecimal():
            return int(pid) or None  # 0: the process is in another container
    return None


def _name_and_state(pid: int) -> tuple[str, str]:
    """Return the name and state of a process, as the system shows them."""
    found = {
        key: value.strip()
        for key, _, value in (line.partition(":") for line in _lines(f"/proc/{pid}/status"))
    }
    return found.get("Name", ""), found.get("State", "")[:1]
