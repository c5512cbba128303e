"""`python -m healthd`: run the process that watches the others and serves the page and `/health`."""

import sys

from common.service import main, options_parser
from healthd.service import build

if __name__ == "__main__":
    parser = options_parser(
        "healthd", "Watch the heartbeats of all processes, answer /health and /metrics, publish self-metrics."
    )
    sys.exit(main(build, parser.parse_args()))
