"""The fixtures that these tests share with the unit tests of the shipper."""

from tests.unit.shipper.conftest import environment, fake_vm, vm

__all__ = ["environment", "fake_vm", "vm"]
