"""A VictoriaMetrics single node as an edge agent sees it, with scripted faults.

In: HTTP requests of an agent, and a test's script of faults.
Out: the answers the real server would give, and every sample it was handed, so
that a test counts exactly. `python -m tests.fake_vm` is also the bundled receiver.

Deliberately absent: zstd and snappy (not in the standard library), separate
tenants (every account shares one pool of samples), `-search.latencyOffset` (a
sample is visible as soon as it is answered), a retention that can be chosen.
"""

from tests.fake_vm.core import ImportRequest
from tests.fake_vm.store import StoredSample
from tests.fake_vm.vm import FakeVm

__all__ = ["FakeVm", "ImportRequest", "StoredSample"]
