"""`python -m healthd`: watch the processes, report on them."""

import sys

from common import service
from healthd import stage

if __name__ == "__main__":
    parser = service.options_parser(
        "healthd", "Watch the heartbeats of all processes, answer /health and /metrics, publish self-metrics."
    )
    sys.exit(service.main(stage.build, parser.parse_args()))
