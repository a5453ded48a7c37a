"""What only POSIX has is called in few modules, and each has its way for Windows or says that it has none."""

from __future__ import annotations

import ast

from tests.structure.measure import modules

ONLY_POSIX = {
    "fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "os.fork", "os.forkpty", "os.getpgid", "os.getpgrp",
    "os.getuid", "os.geteuid", "os.kill", "os.killpg", "os.mkfifo", "os.nice", "os.pidfd_open", "os.setpgid", "os.setsid",
    "os.sysconf", "os.uname", "os.wait", "os.wait3", "os.wait4", "os.waitid", "os.waitpid", "signal.SIGCHLD",
    "signal.SIGKILL", "signal.SIGUSR1", "signal.SIGUSR2", "signal.alarm", "signal.pthread_kill", "signal.set_wakeup_fd",
    "signal.setitimer",
}  # fmt: skip
"""Modules and functions that Windows has not, and ``os.kill``, which ends a process there whatever the signal."""

MAY = {
    "executors.process": "worker processes: their groups, and the lifeline to the app",
    "stores.sqlite.file": "the lock at opening, with msvcrt's in its place on Windows",
    "cli.keys": "keys without Enter, with msvcrt's in their place on Windows",
    "observers.metrics.prometheus": "whether a process lives, asked on POSIX only",
}
"""Folders and modules that may, and why."""


def names_used(text: str) -> set[str]:
    """Return the POSIX names that a module uses."""
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return found & ONLY_POSIX


def test_a_module_calls_nothing_that_only_posix_has() -> None:
    used = {
        name: names_used(path.read_text())
        for name, path in modules().items()
        if not any(name == one or name.startswith(f"{one}.") for one in MAY)
    }
    assert {name: found for name, found in used.items() if found} == {}


def test_the_names_are_found() -> None:
    text = "import fcntl\nfrom os import fork\nimport os\nos.kill(1, 0)\nos.path.join('a')\n"
    assert names_used(text) == {"fcntl", "os.fork", "os.kill"}
