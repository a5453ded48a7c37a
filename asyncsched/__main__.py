"""``python -m asyncsched``: the command line, which the extra ``cli`` brings."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say which extra is missing."""
    if find_spec("click") is None or find_spec("rich") is None:
        print(
            'error: the command line needs click and rich\n  install them: pip install "asyncsched[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2)
    from asyncsched.cli.main import run

    run()


if __name__ == "__main__":
    main()
