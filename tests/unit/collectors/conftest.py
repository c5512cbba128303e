"""The fixtures of these tests that those of `common` have too."""

from tests.unit.common.fixtures import own_signals, quiet_log, run_dir

__all__ = ["own_signals", "quiet_log", "run_dir"]
