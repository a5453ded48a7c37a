"""What a run of the benchmarks has measured so far, in a file: a run that was ended can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks._run import Result

_PARTS = ("at", "load", "rounds", "missing", "failures", "took")


class Unfinished:
    """The file.

    Args:
        path: its path.
        resume: whether to go on with what is in the file; otherwise it is begun anew.

    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self._path = path
        self._resume = resume

    def restore(self, results: Iterable[Result], said: dict[str, str]) -> None:
        """Give each result what was measured of it before, in the same form."""
        if not self._resume or not self._path.exists():
            return
        found: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        said.update(found["servers"])
        for one in results:
            kept = found["scenarios"].get(one.scenario.name)
            if kept is not None and kept["mode"] == one.mode:
                for part in _PARTS:
                    setattr(one, part, kept[part])

    def keep(self, results: Iterable[Result], said: dict[str, str]) -> None:
        """Write all that was measured so far."""
        scenarios = {
            one.scenario.name: {"mode": one.mode, **{part: getattr(one, part) for part in _PARTS}}
            for one in results
            if one.rounds
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")  # whenever this process is ended, there is a whole file
        fresh.write_text(json.dumps({"servers": said, "scenarios": scenarios}), "utf-8")
        fresh.replace(self._path)
