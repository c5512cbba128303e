"""supervisord with a run directory that has a space or a bracket in its name.

supervisor splits `[include] files` at spaces and takes them as patterns. Its parser of configuration files is given a
pattern that matches this one folder instead. (A percent sign it expands twice in some values: `deploy/run` refuses it.)
"""

from __future__ import annotations

import glob
import os
from typing import Any

from supervisor import options

SPACE = "[!!-~]"  # the character class of what is no printable ASCII character but is one: a space


def allow() -> None:
    """Have supervisor include the programs of such a folder."""
    original = options.UnhosedConfigParser.expand_here

    def expand_here(parser: Any, here: str) -> None:
        original(parser, here)
        run_dir = os.environ.get("RUN_DIR", "")
        if run_dir and parser.has_option("include", "files"):
            parser.set("include", "files", pattern(run_dir))

    options.UnhosedConfigParser.expand_here = expand_here


def pattern(run_dir: str) -> str:
    """Return the pattern of a run directory's own programs, without a space in it."""
    return glob.escape(run_dir).replace(" ", SPACE) + "/programs/*.conf"
