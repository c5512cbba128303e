"""For all tests: nothing is judged by how fast this machine is at the moment, and root's rights are not needed.

Generated examples are few, others each time: `make fuzz` generates EXAMPLES of each.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.rootless import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]

settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("EXAMPLES", "10")),
)
settings.load_profile("any machine")
