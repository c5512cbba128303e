"""`python -m deploy.grafana`: write dashboards/*.json from boards.py; a test holds them equal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from deploy.grafana.boards import DASHBOARDS
from deploy.grafana.panels import document

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[Path, str]:
    """Return the text of every file."""
    return {FOLDER / f"{one.uid}.json": json.dumps(document(one), indent=1) + "\n" for one in DASHBOARDS}


def main() -> None:
    """Write them; anything on the command line but --help is an error."""
    argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__).parse_args()
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: written")


if __name__ == "__main__":
    main()
