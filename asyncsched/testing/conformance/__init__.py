"""The conformance suite: what every ledger must do, as plain async functions to run over your own."""

from asyncsched.testing.conformance.cases import CASES as CASES
from asyncsched.testing.conformance.cases import SHARED_CASES as SHARED_CASES
from asyncsched.testing.conformance.cases import name_of as name_of
from asyncsched.testing.conformance.stage import Case as Case
from asyncsched.testing.conformance.stage import Stage as Stage
