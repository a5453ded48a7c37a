"""The conformance suite: the rules of every store, as plain async functions to run over a new store.

This folder may import what ``testing`` may import. Begin reading at ``cases``.
"""

from asyncsched.testing.conformance.cases import CASES as CASES
from asyncsched.testing.conformance.cases import SHARED_CASES as SHARED_CASES
from asyncsched.testing.conformance.cases import name_of as name_of
from asyncsched.testing.conformance.stage import Case as Case
from asyncsched.testing.conformance.stage import Stage as Stage
