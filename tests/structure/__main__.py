"""Print the figures of the structure: ``python -m tests.structure [--package DIR [--path MODULES]]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tests.structure.measure import (
    PACKAGE,
    READING_PATH,
    circles,
    constructor_parameters,
    entries,
    entries_floors,
    floors,
    graph,
    lines,
    modules,
)  # fmt: skip


def figures(package: Path, path: Sequence[str]) -> dict[str, str]:
    """Return the figures of a package by their names; names of modules stand behind a number that they explain."""
    known = modules(package)
    edges = graph(known)
    long = {name: lines(file) for name, file in known.items()}
    code = {name: count for name, count in long.items() if known[name].name != "__init__.py"}
    longest = max(code, key=code.__getitem__)
    large = [name for name, count in constructor_parameters(known).items() if count > 7]
    short = [name for name, count in code.items() if count < 20]
    missing = ", ".join(name for name in path if name not in known)
    walked = f"- (no {missing})" if missing else str(sum(long[name] for name in path))
    return {
        "floors of the entries at the top": str(max(entries_floors(edges).values())),
        "floors of the modules": str(max(floors(edges).values())),
        "circles of imports, with TYPE_CHECKING": str(len(circles(edges))),
        "circles of imports at run time": str(len(circles(graph(known, at_run_time=True)))),
        "entries at the top (with __init__, without py.typed)": str(len(entries(known))),
        "modules (with __init__)": str(len(known)),
        "lines of the package": str(sum(long.values())),
        "lines of the longest module": f"{code[longest]} ({longest})",
        "modules over 350 lines": _listed([name for name, count in code.items() if count > 350]),
        "modules under 20 lines (without __init__)": _listed(short),
        "constructors with more than 7 parameters": _listed(large),
        "lines of the reading path": walked,
    }


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "0"


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of this tree, or of another checkout."""
    parser = argparse.ArgumentParser("python -m tests.structure", description=__doc__)
    parser.add_argument(
        "--package", type=Path, default=PACKAGE, help="the asyncsched folder of another checkout"
    )
    parser.add_argument("--path", default=",".join(READING_PATH), help="the modules of its reading path")
    options = parser.parse_args(arguments)
    if not (options.package / "__init__.py").exists():
        parser.error(f"{options.package} is no package")
    for name, figure in figures(options.package, options.path.split(",")).items():
        print(f"{name:54}{figure}")


if __name__ == "__main__":
    main()
