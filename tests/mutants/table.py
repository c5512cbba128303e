"""The modules whose guards are proven, each with the tests that have to notice a change to it.

Who moves a module or its tests moves its row.
"""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "buffer/audit.py": ("tests/unit/buffer/test_audit.py",),
    "buffer/storage/audit_windows.py": ("tests/unit/buffer/test_audit.py", "tests/unit/buffer/test_pending.py"),
    "buffer/storage/pending.py": ("tests/unit/buffer/test_pending.py",),
    "buffer/storage/clocks.py": ("tests/unit/buffer/test_ingest.py", "tests/unit/buffer/test_pending.py"),
    "buffer/drain.py": ("tests/unit/buffer/test_drain.py",),
    "common/outbox.py": ("tests/unit/common/test_outbox.py",),
    "shipper/audit.py": ("tests/unit/shipper/test_audit.py",),
    "shipper/lease.py": ("tests/unit/shipper/test_upload.py",),
    "shipper/drain.py": ("tests/unit/shipper/test_drain.py",),
    "shipper/dispatch.py": ("tests/unit/shipper/test_dispatch.py",),
    "shipper/http/outcome.py": ("tests/unit/shipper/test_outcome.py",),
    "shipper/pace/mode.py": ("tests/unit/shipper/test_mode.py",),
    "shipper/pace/backoff.py": ("tests/unit/shipper/test_backoff.py",),
    "healthd/watchdog.py": ("tests/unit/healthd/test_watchdog.py", "tests/unit/healthd/test_watchdog_limits.py"),
    "collectors/derived/alerts.py": ("tests/unit/collectors/test_alerts.py",),
    "common/thresholds.py": ("tests/unit/collectors/test_alerts.py",),
}
