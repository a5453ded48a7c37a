"""How a job is run again, held back, and given what it needs."""

from asyncsched.policies.limits import Limit as Limit
from asyncsched.policies.limits import RateLimit as RateLimit
from asyncsched.policies.provide import Provide as Provide
from asyncsched.policies.retry import Retry as Retry
