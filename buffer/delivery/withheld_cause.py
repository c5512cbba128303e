"""Name the server setting that most likely drops accepted samples. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buffer.storage.withheld import Withheld

NOTHING = "the server accepts the samples of this device and has none of them"
NAMED = 3  # metrics


def explain(found: Mapping[str, Sequence[Withheld]], series: int) -> str:
    """Describe how the server drops samples of some series, and the likely setting.

    Args:
        found: by metric, what is there of each series that is short.
        series: how many there are in the window.
    """
    short = [one for several in found.values() for one in several]
    if len(short) == series and not any(one.kept for one in short):
        return (
            f"{NOTHING}: mostly the token writes under another "
            "device_id (extra_label in vmauth), or relabelling there drops or renames them"
        )
    thinned = [one for one in short if one.kept]
    if 2 * len(thinned) >= len(short):
        kept, uploaded = sum(one.kept for one in short), sum(one.uploaded for one in short)
        return (
            f"the server keeps {kept} of {uploaded} samples of {len(short)} series ({_names(found)}): its "
            "-dedup.minScrapeInterval is larger than 1ms, or it downsamples; start it with -dedup.minScrapeInterval=1ms"
        )
    return (
        f"the server accepts {len(short)} of {series} series and does not keep them ({_names(found)}): relabelling or "
        "a limit of series there drops them, or they are older than its -retentionPeriod"
    )


def _names(found: Mapping[str, object]) -> str:
    more = len(found) - NAMED
    return ", ".join(sorted(found)[:NAMED]) + (f" and {more} more metrics" if more > 0 else "")
