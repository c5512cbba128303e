"""The process of a collector: its sources on one loop, one socket and one outbox."""

from __future__ import annotations

import argparse

from collectors import registry
from collectors.host import Host
from collectors.schedule import SourceSchedule
from collectors.source import Source
from common.activity import Activity
from common.service import Service


def build(options: argparse.Namespace) -> Service:
    """Build the process of a collector, or of one source alone.

    Raises:
        AlreadyRunning: a process runs one of its sources already.
        ConfigError: the configuration cannot be used.
    """
    names = registry.sources_of(options.name)
    service = Service(options.name, options, registry.sections(names))
    publisher = service.publishes(names)
    activity = Activity(service.run_dir, options.name)
    sections = service.config.collectors
    sources = [
        Source(
            name,
            registry.load(name),
            Host(options.root, on_read=activity.reading),
            sections[name],
            run_dir=service.run_dir,
        )
        for name in names
    ]
    SourceSchedule(service, publisher, activity, sources)
    return service
