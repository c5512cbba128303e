"""The fixtures that these tests share with those of `tests/integration`."""

from tests.integration.conftest import launcher

__all__ = ["launcher"]
