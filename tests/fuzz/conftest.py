"""The fixtures of these tests, shared with those of `common`."""

from tests.unit.common.fixtures import run_dir

__all__ = ["run_dir"]
