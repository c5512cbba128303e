"""What the stream gives: SRT, bonded links, encoder, audio, HDMI, modems."""

from __future__ import annotations

from common.catalog.row import Metric

STREAM: tuple[Metric, ...] = ()
