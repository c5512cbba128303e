"""The fixtures of these tests, from `fixtures.py`."""

from tests.unit.common.fixtures import own_signals, quiet_log, run_dir

__all__ = ["own_signals", "quiet_log", "run_dir"]
