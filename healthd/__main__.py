"""`python -m healthd`: watch the processes, report on them."""

import sys

from common.service import main, options_parser
from healthd.service import build

if __name__ == "__main__":
    parser = options_parser(
        "healthd", "Watch the heartbeats of all processes, answer /health and /metrics, publish self-metrics."
    )
    sys.exit(main(build, parser.parse_args()))
