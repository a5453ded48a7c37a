"""The signals are tested under every store, as the policies are."""

from tests.policies.conftest import make_scheduler as make_scheduler
from tests.policies.conftest import make_store as make_store
