"""The whole server: sockets, core and a thread, for use inside a test's process.

In: constructor arguments. Out: a listening server, and the methods that
mirror its `/_fake/` paths.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tests.fake_vm.core import Core
from tests.fake_vm.script import Step
from tests.fake_vm.server import VmServer

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.fake_vm.core import ImportRequest
    from tests.fake_vm.store import StoredSample


class FakeVm:
    """A fake VictoriaMetrics; `with FakeVm() as vm:` starts and stops it."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        data: str | Path | None = None,
        token: str | None = None,
        latency_ms: float = 0.0,
        idle_timeout_s: float = 60.0,
    ) -> None:
        """Prepare; port 0 takes a free one at the first start and keeps it."""
        self.core = Core(data=data, token=token, latency_ms=latency_ms)
        self._address = (host, port)
        self._idle_timeout_s = idle_timeout_s
        self._server: VmServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeVm:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Listen; after a `stop` again on the same port, samples kept."""
        self._server = VmServer(self._address, self.core, self._idle_timeout_s)
        self._address = (self._address[0], self._server.server_address[1])
        self.core.begin()
        self._thread = threading.Thread(target=self._server.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections; requests under way get no answer."""
        if self._server is None or self._thread is None:
            return
        self.core.closing.set()
        self._server.end()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """Base URL; known once started."""
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def import_url(self) -> str:
        """Where samples go."""
        return f"{self.url}/api/v1/import"

    def script(self, steps: Sequence[Step | dict[str, Any]]) -> None:
        """Replace the script; one step serves one import request.

        Raises:
            ValueError: A step has an unknown key or a value of the wrong kind.
        """
        self.core.script.load([step if isinstance(step, Step) else Step.from_json(step) for step in steps])

    @property
    def steps_left(self) -> int:
        """Steps of the script not yet begun or finished."""
        return self.core.script.steps_left

    def set_state(self, **changes: Any) -> None:
        """Change `date_skew_s`, `down`, `latency_ms`, `poison`, or `forget` (now).

        Raises:
            ValueError: A name is unknown or the poison is no regular expression.
        """
        self.core.set_state(changes)

    def forget(self, last_s: float | None = None) -> None:
        """Crash: lose the samples of the last seconds (None: all), start anew."""
        self.core.forget(last_s)

    def samples(self, name: str = "") -> list[StoredSample]:
        """Return every (series, millisecond) with its receipts, or those of one name, series by series."""
        return self.core.store.samples(name)

    def requests(self) -> list[ImportRequest]:
        """Return the import requests so far, in order of their answers."""
        return self.core.requests()

    def reset(self) -> None:
        """Be as new: no samples, requests, script, counters or faults."""
        self.core.reset()

    def wait_for(self, predicate: Callable[[FakeVm], bool], timeout_s: float = 10.0) -> None:
        """Return once the predicate holds; it is tried after every import request.

        Raises:
            TimeoutError: It did not hold in time.
        """
        self.core.wait_for(lambda: predicate(self), timeout_s)

    @property
    def rows_invalid(self) -> int:
        """Lines dropped whole since the last (re)start."""
        return self.core.rows_invalid

    @property
    def rows_ignored(self) -> Counter[str]:
        """Samples or series ignored since the last (re)start, by reason."""
        return self.core.rows_ignored.copy()

    @property
    def start_timestamp(self) -> int:
        """What `vm_app_start_timestamp` says."""
        return self.core.start_timestamp
