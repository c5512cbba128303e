"""Completion for bash: the commands, the sources after `print`, the processes after `logs`, files elsewhere."""

from __future__ import annotations

import argparse

from collectors import registry
from deploy.command.place import PipelinePlace

SCRIPT = """_belabox_metrics() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"
    else
        case ${{COMP_WORDS[1]}} in
        print) words="{sources}" ;;
        logs) words="{processes}" ;;
        completion) words=bash ;;
        quarantine) words="list release" ;;
        *) COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F _belabox_metrics belabox-metrics
"""


def completion(place: PipelinePlace, _options: argparse.Namespace) -> int:
    """Print the script."""
    from deploy.command.main import COMMANDS  # noqa: PLC0415 - which has this among them

    processes = sorted(file.stem for file in place.log_dir.glob("*.log"))
    print(
        SCRIPT.format(commands=" ".join(COMMANDS), sources=" ".join(registry.names()), processes=" ".join(processes)),
        end="",
    )
    return 0
