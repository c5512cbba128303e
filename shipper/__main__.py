"""`python -m shipper`: run the process that uploads samples to the server."""

import sys

from common import service
from shipper.http.token import ENVIRONMENT
from shipper.service import build

if __name__ == "__main__":
    parser = service.options_parser(
        "shipper",
        "Take samples from the buffer to VictoriaMetrics. The bearer token is in remote.auth.token_file, or "
        f"without one in the environment variable {ENVIRONMENT}.",
    )
    sys.exit(service.main(build, parser.parse_args()))
