"""``top``: the page in the terminal, live, with the page's keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import click

from asyncsched._core.errors import AsyncSchedError, NotFound
from asyncsched._scheduler.audit import via
from asyncsched.cli.faults import Fault
from asyncsched.cli.keys import pressed_keys
from asyncsched.cli.live import every_option, looking, times_option
from asyncsched.cli.operate import author
from asyncsched.cli.options import style_of, targets, writes
from asyncsched.cli.output import present, safe, state
from asyncsched.cli.target import Ledger, Target
from asyncsched.cli.top_pages import Content, Line, content, matching

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream
    from rich.console import RenderableType

GO = {"o": "overview", "r": "runs", "f": "failures", "t": "timeline", "i": "instances", "a": "activity"}
"""The page that each letter after ``g`` goes to."""


@dataclass(frozen=True)
class Act:
    """Something to do to a schedule: ``run``, ``pause`` or ``resume``."""

    what: str
    schedule: str
    note: str = ""


@dataclass
class Prompt:
    """A question in the last line: its text, what has been typed, and what the answer does."""

    question: str
    answered: Callable[[str], Act | None]
    text: str = ""
    one_key: bool = False


@dataclass
class Screen:
    """What is on the screen: the page, the chosen row, the filter, the question that is open, and the last word."""

    page: str = "overview"
    id: str = ""
    row: int = 0
    filter: str = ""
    prompt: Prompt | None = None
    told: str = ""
    going: bool = False
    over: bool = False
    back: list[tuple[str, str, int]] = field(default_factory=list)

    def press(self, key: str, lines: list[Line]) -> Act | None:
        """Take a key; return what it does to a schedule, if it does."""
        self.told = ""
        if self.prompt is not None:
            return self._typed(self.prompt, key)
        if self.going:
            self.going = False
            if key in GO:
                self.open(GO[key])
            return None
        chosen = lines[self.row] if self.row < len(lines) else None
        if key in ("j", "k"):
            self.row = max(0, min(len(lines) - 1, self.row + (1 if key == "j" else -1)))
        elif key == "q":
            self.over = True
        elif key == "g":
            self.going = True
        elif key == "?":
            self.open("keys")
        elif key == "esc":
            self._return()
        elif key == "/":
            self.prompt = Prompt("only rows with: ", self._narrow, self.filter)
        elif key == "enter" and chosen is not None and chosen.opens is not None:
            self.open(*chosen.opens)
        elif key in ("r", "p") and chosen is not None:
            return self._act_on(key, chosen)
        return None

    def open(self, page: str, id: str = "") -> None:
        """Go to a page, from which Esc comes back."""
        self.back.append((self.page, self.id, self.row))
        self.page, self.id, self.row, self.filter = page, id, 0, ""

    def follow(self, before: Content, after: Content) -> None:
        """Keep the chosen row where the rows have moved."""
        old, new = matching(before.lines, self.filter), matching(after.lines, self.filter)
        if self.row < len(old) and old[self.row].opens is not None:
            places = [at for at, line in enumerate(new) if line.opens == old[self.row].opens]
            self.row = next((at for at in places if at >= self.row), places[-1] if places else self.row)

    def _return(self) -> None:
        if self.filter:
            self.filter = ""
        elif self.back:
            self.page, self.id, self.row = self.back.pop()

    def _narrow(self, text: str) -> None:
        self.filter, self.row = text, 0

    def _act_on(self, key: str, chosen: Line) -> Act | None:
        schedule = chosen.schedule
        if schedule is None:
            self.told = "this row is of no schedule"
        elif key == "r":
            self.prompt = Prompt(
                f"run {schedule} now? y/n ",
                lambda said: Act("run", schedule) if said == "y" else None,
                one_key=True,
            )
        elif chosen.paused:
            return Act("resume", schedule)
        else:
            self.prompt = Prompt(f"pause {schedule}, note: ", lambda note: Act("pause", schedule, note))
        return None

    def _typed(self, prompt: Prompt, key: str) -> Act | None:
        if key == "esc":
            self.prompt = None
        elif prompt.one_key or key == "enter":
            self.prompt = None
            return prompt.answered(key if prompt.one_key else prompt.text)
        elif key == "backspace":
            prompt.text = prompt.text[:-1]
        elif key.isprintable() and len(key) == 1:
            prompt.text += key
        return None


@click.command()
@every_option
@times_option
@targets()
@writes(json=False)
def top(target: Target, every: float, times: int | None) -> int:
    """Show the overview, live, with the progress of what runs, and the page's keys: ? shows them, q ends it."""
    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=style_of().color == "never" or None)
    screen, shown = Screen(), Content("", ("",), (), "")
    with Live(console=console, auto_refresh=False, screen=console.is_terminal and times is None) as live:

        def draw() -> None:
            live.update(drawn(screen, shown, console.height), refresh=True)

        def tell(words: str) -> None:
            screen.told = words
            draw()

        async def look(ledger: Ledger) -> None:
            nonlocal shown
            before = shown
            try:
                shown = await content(ledger, screen.page, screen.id)
                screen.follow(before, shown)
            except NotFound as error:  # it was removed while it was looked at
                screen.open("overview")
                screen.told = str(error)
                shown = await content(ledger, screen.page, screen.id)
            draw()

        async def wait(ledger: Ledger, keys: MemoryObjectReceiveStream[str] | None) -> bool:
            """Take keys until it is time to look again; return whether it is over."""
            if keys is None:
                await anyio.sleep(every)
            with anyio.move_on_after(every):
                while keys is not None and not screen.over:
                    before = (screen.page, screen.id)
                    try:
                        key = await keys.receive()
                    except anyio.EndOfStream:
                        return True
                    act = screen.press(key, matching(shown.lines, screen.filter))
                    if act is not None:
                        tell(await _done(ledger, act, target))
                    if act is not None or before != (screen.page, screen.id):
                        break
                    draw()
            return screen.over

        return looking(target, times, look, wait, tell, pressed_keys)


async def _done(ledger: Ledger, act: Act, target: Target) -> str:
    """Do something to a schedule, and return what is said of it."""
    scheduler, by = ledger.scheduler, "" if target.url else author("")
    try:
        with via("cli"):
            if act.what == "run":
                if not ledger.has_code:
                    return "to run a job needs its code: --app module:scheduler, or a running app's --url"
                handle = await scheduler.run_now(act.schedule, by=by)
                return f"made run {handle.id} of {act.schedule}"
            if act.what == "pause":
                await scheduler.pause(act.schedule, note=act.note, by=by)
                return f"{act.schedule} is paused"
            await scheduler.resume(act.schedule, by=by)
            return f"{act.schedule} goes on"
    except Fault as error:
        return error.message
    except AsyncSchedError as error:
        return str(error)


def drawn(screen: Screen, shown: Content, height: int) -> RenderableType:
    """Return what stands in the terminal: a head line, the rows around the chosen one, and the last line."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    lines = matching(shown.lines, screen.filter)
    screen.row = max(0, min(screen.row, len(lines) - 1))
    room = max(1, height - 4)
    first = max(0, min(screen.row - room // 2, len(lines) - room))
    table = Table(box=None, expand=True, pad_edge=False)
    for at, title in enumerate(shown.titles):
        table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=2 if at == shown.stretched else None)
    for at, line in enumerate(lines[first : first + room], first):
        cells: list[RenderableType] = [
            Text.from_ansi(state(cell)) if title == "state" else Text(safe(" ".join(cell.split()) or cell))
            for title, cell in zip(shown.titles, line.cells, strict=False)
        ]
        if line.progress is not None:
            cells.append(ProgressBar(line.progress.total, line.progress.done, width=16))
        table.add_row(*cells, style="reverse" if at == screen.row and line.schedule is not None else None)
    head = Text(
        f"{present().astimezone():%H:%M:%S}  {safe(shown.head)}",
        style="bold",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Group(
        head, table if lines else Text(shown.empty, style="dim"), Text(safe(_last(screen)), no_wrap=True)
    )


def _last(screen: Screen) -> str:
    if screen.prompt is not None:
        return f"{screen.prompt.question}{screen.prompt.text}"
    narrowed = f"only rows with {screen.filter!r}; " if screen.filter else ""
    return screen.told or f"{narrowed}? keys   q end"
