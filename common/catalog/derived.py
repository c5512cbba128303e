"""What is made of other metrics on the device, and the session they belong to."""

from __future__ import annotations

from common.catalog.row import Metric

DERIVED: tuple[Metric, ...] = ()
