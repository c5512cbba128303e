"""A GET of a name whose server does not answer; run in namespaces of its own by `test_web_lookup.py`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from collectors import web
from tests.integration.lookup_child import NAME, NameServer, alone


def main() -> None:
    """Ask once; print how often the name server was asked, and how long that took."""
    alone(Path(sys.argv[1]))
    names, began_s = NameServer(), time.monotonic()
    try:
        web.get(f"http://{NAME}/", 0.5)
    except web.WebError as error:
        print(names.asked, f"{error} after {time.monotonic() - began_s:.1f} s")


if __name__ == "__main__":
    main()
