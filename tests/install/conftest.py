"""The fixtures of the integration tests."""

from tests.integration.conftest import run_dir, vm

__all__ = ["run_dir", "vm"]
