"""Every command that our documents print to be typed, and which test runs it as it is written there.

Tests have ports, addresses and folders of their own, and are root or need no `sudo`.

`python -m tests.own_documents` prints the list.

Reads: the indented lines of the pages. Fails: a line that no test is known for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.harness import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/docker/README.md", "docs/*.md", "common/*.md")
NO_COMMANDS = re.compile(r"scrape_configs:|count by |[-\w]+: ")  # configuration and PromQL
# Run on the pipeline of a clone, in its folder or, for the pages of an operator, in the run directory.
HERE = "tests/integration/test_command.py"
TESTS = {
    r"make run$|BELABOX_\w+=": f"{HERE}, whose pipeline it is",
    r"make (test|setup-dev|lint types)$": ".ci/run",
    r"make mutants": "tests/unit/test_mutants.py",
    r"supervisorctl ": "tests/integration/test_pipeline.py",
    r"sudo deploy/install\.sh$|sudoedit |sudo systemctl reload": "tests/install/test_machine.py",
    r"(DOMAIN=\S+ )?deploy/docker/up\.sh": "tests/integration/test_server_side.py",
    r"python3 deploy/docker/images\.py": "tests/unit/deploy/test_images.py",
    r"python3 -m deploy\.fleet (add|list|rotate|revoke) ?": "tests/integration/test_fleet.py",
    r"python3 -m deploy\.fleet serve|sudo belabox-metrics join": "tests/integration/test_join.py",
    r"curl .*\| sudo sh": "tests/install/test_invited.py",
    r"(sudo )?belabox-metrics |(sqlite3|curl|grep|gunzip|zcat|date) ": HERE,
}


class Typed(NamedTuple):
    """A command.

    Attributes:
        page: where it stands.
        text: as it is written, its continuation lines included.
        test: what runs it.
    """

    page: str
    text: str
    test: str


def commands() -> Iterator[Typed]:
    """Yield every command, in the order of the pages."""
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            for text in _indented(re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))):
                yield Typed(str(page.relative_to(ROOT)), text, _test(text))


def _indented(page: str) -> Iterator[str]:
    """Yield indented lines without their comments; what is indented further belongs to the line before."""
    for text in re.findall(r"(?m)^    (\S.*(?:\n      .*)*)$", page):
        if not NO_COMMANDS.match(text):
            yield re.sub(r"\s+# .*", "", text)


def _test(text: str) -> str:
    return next((test for pattern, test in TESTS.items() if re.match(pattern, text)), "")


def main() -> int:
    """Print the list; return 1 where a command is in no test."""
    listed = list(commands())
    for typed in listed:
        print(f"{typed.page:28} {typed.test or 'NO TEST':46} {typed.text}")
    return any(not typed.test for typed in listed)


if __name__ == "__main__":
    sys.exit(main())
