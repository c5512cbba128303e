"""`python -m buffer`: own the database, take batches, lease them out."""

import sys

from buffer import stage
from common import service

if __name__ == "__main__":
    parser = service.options_parser(
        "buffer", "Take samples from every producer into SQLite, lease them to the shipper."
    )
    sys.exit(service.main(stage.build, parser.parse_args()))
