"""The command `wait`: wait until healthd answers with this version and all processes run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from common import VERSION, config
from deploy.command.place import EXIT_CONFIG, EXIT_UNAVAILABLE, CommandError, PipelinePlace
from healthd import top

EVERY_S = 1.0
GOOD = ("running", "off", "stopped")  # the last by an operator


def wait(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Wait for health; print what it says, or what is wrong after that time.

    Raises:
        CommandError: the configuration cannot be used.
    """
    try:
        settings = config.load(place.config, {**os.environ, "BELABOX_RUN__DIR": str(place.run_dir)}).settings
    except config.ConfigError as error:
        raise CommandError(EXIT_CONFIG, "\n".join(error.messages)) from error
    deadline_s = time.monotonic() + options.seconds
    while True:
        try:
            _, body = top.ask(settings, settings.health.path)
            told = judged(json.loads(body))
        except top.HealthUnreachableError as error:
            told = str(error)
        if told == "":
            print(f"belabox-metrics {VERSION} runs")
            return 0
        if time.monotonic() >= deadline_s:
            print(told, file=sys.stderr)
            return EXIT_UNAVAILABLE
        time.sleep(EVERY_S)


def judged(health: Mapping[str, Any]) -> str:
    """Return why an installation is not healthy, "" if it is; the server may be unreachable."""
    if health["version"] != VERSION:
        return f"version {health['version']} answers, {VERSION} is installed"
    states = {name: process["state"] for name, process in health["processes"].items()}
    return ", ".join(f"{name} is {state}" for name, state in states.items() if state not in GOOD)
