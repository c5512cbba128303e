"""The fixtures that these tests share with the unit tests of the shipper."""

from tests.unit.common.fixtures import run_dir
from tests.unit.shipper.conftest import environment, fake_vm, start, start_process, stub, vm

__all__ = ["environment", "fake_vm", "run_dir", "start", "start_process", "stub", "vm"]
