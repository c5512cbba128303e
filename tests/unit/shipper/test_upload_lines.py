"""How often the log has a line of what was uploaded, and what is in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from common.log import Log
from shipper.upload import Upload
from shipper.upload_lines import EVERY_S, UploadLines


class Lines(Log):
    """A log that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__("shipper")
        self.fields: list[dict[str, Any]] = []

    def info(self, message: str, **fields: Any) -> None:
        """Keep it."""
        self.fields.append(fields)


def ended(priority: int = 2, session_id: str | None = "s-1") -> Upload:
    """Return a round of two chunks that has ended."""
    lease = SimpleNamespace(priority=priority, session_id=session_id)
    return cast(
        "Upload",
        SimpleNamespace(
            lease=lease, batch_id="b", accepted=60, rejected=1, chunk_index=2, bytes_sent=900, bytes_rcvd=50,
            http_status=204, began_s=0.0,
        ),
    )  # fmt: skip


def test_the_first_round_of_a_lane_has_a_line_then_ten_minutes_have_one() -> None:
    """With all there was since the line before; another lane has its own."""
    log = Lines()
    lines = UploadLines(log)
    for now_s in (0.0, 10.0, 20.0, EVERY_S):
        lines.ended(ended(), "http://vm", now_s)
    lines.ended(ended(priority=1), "http://vm", 30.0)
    assert [(2, 1, 60), (2, 3, 180), (1, 1, 60)] == [(it["priority"], it["rounds"], it["count"]) for it in log.fields]
    assert (6, 3, 2700, 150) == tuple(
        log.fields[1][name] for name in ("chunks", "rejected", "bytes_sent", "bytes_rcvd")
    )


def test_a_line_has_the_session_of_its_samples() -> None:
    """Outside of a stream there is none."""
    log = Lines()
    UploadLines(log).ended(ended(), "http://vm", 0.0)
    UploadLines(log).ended(ended(session_id=None), "http://vm", 0.0)
    assert ["s-1", None] == [fields.get("session_id") for fields in log.fields]
