"""`make chaos SEED= MINUTES=`: a storm of faults, every sample counted, a seed that repeats it."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos import storm
from tests.harness import require


def main() -> int:
    """Run a storm and print its ledger; exit code 1 when something is wrong and not counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="leave the folder with database and logs behind")
    options = parser.parse_args()
    binary = require("victoria-metrics")
    folder = Path(tempfile.mkdtemp(prefix="bm-", dir="/tmp"))
    print(f"seed {options.seed}, {options.minutes:g} minutes, in {folder}", flush=True)
    try:
        ledger = storm.run(binary, folder, options.seed, options.minutes * 60)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(ledger.lines()))
    print(f"repeat: make chaos SEED={options.seed} MINUTES={options.minutes:g}")
    return int(ledger.unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
