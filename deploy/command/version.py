"""The command `version`."""

from __future__ import annotations

import argparse

from common import VERSION
from deploy.command.place import PipelinePlace


def version(_place: PipelinePlace, _options: argparse.Namespace) -> int:
    """Print the version of this program."""
    print(f"belabox-metrics {VERSION}")
    return 0
