"""The state of a sample (pending, uploaded, local only, in quarantine), and its code in the column `samples.chunk`.

The column is NULL while the sample is pending, the id of its checkpoint once it is uploaded, and otherwise one of
the two codes below. No other file compares the number.
"""

from __future__ import annotations

from typing import NamedTuple

IS_PENDING = "chunk IS NULL"  # the condition of the partial index `idx_uploaded`, word for word
IS_UPLOADED = "chunk > 0"
# What the view `metrics` calls `uploaded`: 0 pending, 1 uploaded, 2 kept here.
AS_UPLOADED = f"CASE WHEN {IS_PENDING} THEN 0 WHEN {IS_UPLOADED} THEN 1 ELSE 2 END"


class Fate(NamedTuple):
    """What became of a sample.

    Attributes:
        code: as in the column; for this folder alone.
    """

    code: int | None

    @property
    def is_pending(self) -> bool:
        """Tell whether the sample waits for its upload."""
        return self.code is None

    @property
    def is_uploaded(self) -> bool:
        """Tell whether the server accepted the sample."""
        return self.code is not None and self.code > 0

    @property
    def is_only_here(self) -> bool:
        """Tell whether the sample will never be sent: text, or in quarantine."""
        return self.code in {LOCAL.code, QUARANTINED.code}


PENDING = Fate(None)
LOCAL = Fate(0)  # text: kept on the device, never uploaded
QUARANTINED = Fate(-1)  # the server refuses it: kept, counted, not sent again


def uploaded_in(checkpoint: int) -> Fate:
    """Return the fate of what the server accepted, by the id of its checkpoint."""
    return Fate(checkpoint)
