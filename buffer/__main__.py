"""`python -m buffer`: run the process that owns the database."""

import sys

from buffer.service import build
from common import service

if __name__ == "__main__":
    parser = service.options_parser(
        "buffer", "Take samples from every producer into SQLite, lease them to the shipper."
    )
    sys.exit(service.main(build, parser.parse_args()))
