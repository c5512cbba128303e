"""The modules whose guards are proven, each with the tests that have to notice a change to it.

Who moves a module or its tests moves its row.
"""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "buffer/delivery/audit.py": ("tests/unit/buffer/test_audit.py", "tests/unit/buffer/test_recheck.py"),
    "buffer/storage/audit_windows.py": ("tests/unit/buffer/test_audit_windows.py", "tests/unit/buffer/test_audit.py"),
    "buffer/storage/pending.py": (
        "tests/unit/buffer/test_pending.py",
        "tests/unit/buffer/test_drain.py",
        "tests/unit/buffer/test_audit.py",
        "tests/unit/buffer/test_clocks.py",
        "tests/unit/buffer/test_too_old.py",
    ),
    "buffer/storage/clocks.py": (
        "tests/unit/buffer/test_clock_steps.py",
        "tests/unit/buffer/test_clocks.py",
        "tests/unit/buffer/test_clock_of_a_new_file.py",
        "tests/unit/buffer/test_events.py",
    ),
    "buffer/delivery/drain.py": ("tests/unit/buffer/test_drain.py", "tests/unit/buffer/test_drain_requests.py"),
    "buffer/delivery/recheck.py": ("tests/unit/buffer/test_recheck.py", "tests/unit/buffer/test_audit.py"),
    "buffer/delivery/server_starts.py": (
        "tests/unit/buffer/test_server_starts.py",
        "tests/unit/buffer/test_recheck.py",
        "tests/unit/buffer/test_audit.py",
    ),
    "buffer/delivery/upload_marks.py": ("tests/unit/buffer/test_upload_marks.py", "tests/unit/buffer/test_drain.py"),
    "buffer/storage/writer.py": (
        "tests/unit/buffer/test_store.py",
        "tests/unit/buffer/test_clocks.py",
        "tests/unit/buffer/test_events.py",
        "tests/unit/buffer/test_sessions.py",
    ),
    "common/outbox.py": ("tests/unit/common/test_outbox.py",),
    "buffer/delivery/too_old.py": ("tests/unit/buffer/test_too_old.py",),
    "shipper/audit.py": ("tests/unit/shipper/test_audit_questions.py", "tests/unit/shipper/test_audit.py"),
    "shipper/duplicates.py": ("tests/unit/shipper/test_duplicates.py",),
    "shipper/lease.py": ("tests/unit/shipper/test_lease.py",),
    "shipper/buffer_client.py": ("tests/unit/shipper/test_drain_operations.py",),
    "shipper/buffer_connection.py": ("tests/unit/shipper/test_buffer_client.py",),
    "shipper/sender.py": ("tests/unit/shipper/test_sender_turns.py", "tests/unit/shipper/test_sender_reports.py"),
    "shipper/upload.py": ("tests/unit/shipper/test_upload_trials.py", "tests/unit/shipper/test_upload.py"),
    "shipper/http/outcome.py": ("tests/unit/shipper/test_outcome.py",),
    "shipper/http/proof.py": ("tests/unit/shipper/test_proof.py", "tests/unit/shipper/test_outcome.py"),
    "shipper/queues.py": ("tests/unit/shipper/test_queues.py", "tests/unit/shipper/test_sender_turns.py"),
    "shipper/state.py": ("tests/unit/shipper/test_state.py", "tests/unit/shipper/test_policy.py"),
    "shipper/chunk_size.py": ("tests/unit/shipper/test_chunk_size.py", "tests/unit/shipper/test_policy.py"),
    "shipper/comparison.py": ("tests/unit/shipper/test_audit_questions.py", "tests/unit/shipper/test_audit.py"),
    "shipper/policy.py": ("tests/unit/shipper/test_policy.py",),
    "healthd/watchdog.py": ("tests/unit/healthd/test_watchdog.py", "tests/unit/healthd/test_watchdog_limits.py"),
    "collectors/derived/alerts.py": ("tests/unit/collectors/test_alerts.py",),
    "common/thresholds.py": ("tests/unit/common/test_thresholds.py", "tests/unit/collectors/test_alerts.py"),
}
