"""The list of the conformance cases: the rules of every store, as plain async functions.

Each case takes a :class:`Stage` and asserts. With pytest, in virtual time::

    @pytest.mark.anyio
    @pytest.mark.parametrize("case", CASES, ids=name_of)
    async def test_my_store(case, virtual_clock, tmp_path):
        async with Stage(lambda: MyStore(tmp_path / "ledger"), virtual_clock) as stage:
            await case(stage)

``CASES`` are for every store, ``SHARED_CASES`` for a store that several instances share.
"""

from __future__ import annotations

from asyncsched.testing.conformance import keys, letters, lists, runs, schedules, shared
from asyncsched.testing.conformance.stage import Case as Case
from asyncsched.testing.conformance.stage import Stage as Stage

CASES: list[Case] = [*runs.CASES, *keys.CASES, *letters.CASES, *lists.CASES, *schedules.CASES]
SHARED_CASES: list[Case] = list(shared.CASES)


def name_of(case: Case) -> str:
    """Return the name of a case, which is the id of its test."""
    return case.__name__
