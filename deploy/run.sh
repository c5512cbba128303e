#!/bin/sh
# The whole pipeline in one folder, in the foreground: what `make run` does after the venv is there.
# What it does is in deploy/run/; `deploy/run.sh --help` says what it takes from the environment.
set -eu
HERE=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-$HERE/.venv/bin/python}
[ -x "$PYTHON" ] || { echo "no interpreter at $PYTHON: run \`make setup\` first" >&2; exit 69; }
# Its own modules come from this tree, whatever is in the folder that it is called from.
exec "$PYTHON" -c 'import sys
sys.path[0] = sys.argv.pop(1)
from deploy.run.main import main
sys.exit(main())' "$HERE" "$@"
