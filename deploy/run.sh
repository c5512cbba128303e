#!/bin/sh
# The whole pipeline in one folder, in the foreground: what `make run` does after the venv is there.
#
# From the environment, all optional:
#   RUN_DIR    where sockets, database and logs go            (default: ./run)
#   CONFIG     configuration file                             (default: RUN_DIR/config.yaml, made if missing)
#   DEMO       play a stream on a recorded board in RUN_DIR/host and read that (`make demo`): its options,
#              e.g. "--seed 2 --episode heat", or "--seed 1"
#   HOST_ROOT  read HOST_ROOT/proc and HOST_ROOT/sys          (default: /)
#   PYTHON     interpreter with the packages                  (default: ./.venv/bin/python)
#   SERVER     victoria-metrics, bundled or none: what to start when no remote.url is configured
#              (default: victoria-metrics if it is installed, else bundled)
#   PLAIN      not empty: supervisord as it is, whose processes share no memory
#   BELABOX_<SECTION>__<KEY>  any key of the configuration, e.g. BELABOX_REMOTE__URL, BELABOX_HEALTH__PORT
set -eu
umask 077

HERE=$(cd "$(dirname "$0")/.." && pwd)
RUN_DIR=${RUN_DIR:-$HERE/run}
mkdir -p "$RUN_DIR" && chmod 700 "$RUN_DIR"
RUN_DIR=$(cd "$RUN_DIR" && pwd)
LOG_DIR=${LOG_DIR:-$RUN_DIR/log}
PYTHON=${PYTHON:-$HERE/.venv/bin/python}
if [ -n "${DEMO:-}" ]; then
    # The player replaces what it marked as its own, nothing else.
    [ -d "$RUN_DIR/host" ] || { mkdir "$RUN_DIR/host" && touch "$RUN_DIR/host/.played"; }
    HOST_ROOT=$RUN_DIR/host
    if "$PYTHON" -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)' 2>/dev/null; then
        DEMO="$DEMO --packets" # the stream's packets on lo, for the tap to look at
        export BELABOX_TEST_TAP=1
    else # what takes the tap's place without the right to it says less
        export BELABOX_COLLECTORS__SRT__STATS_FILE="${BELABOX_COLLECTORS__SRT__STATS_FILE:-/tmp/srt-stats.json}"
    fi
    export BELABOX_COLLECTORS__RECEIVER__ENABLED="${BELABOX_COLLECTORS__RECEIVER__ENABLED:-true}"
    export BELABOX_COLLECTORS__GPS__ENABLED="${BELABOX_COLLECTORS__GPS__ENABLED:-true}"
fi
HOST_ROOT=$(cd "${HOST_ROOT:-/}" && pwd)
mkdir -p "$LOG_DIR" "$RUN_DIR/programs"
rm -f "$RUN_DIR/programs/server.conf" "$RUN_DIR/programs/demo.conf"
SRT_AUTOSTART=true
export RUN_DIR LOG_DIR PYTHON HOST_ROOT SRT_AUTOSTART

say() { printf '%s\n' "$*"; }
die() { say "$2" >&2; exit "$1"; }

free_port() { # port $1, or where somebody listens on it one above, not the one that another run tries just now
    "$PYTHON" - "$1" "$$" <<'PY'
import socket, sys
first = int(sys.argv[1])
for port in (first, *range(first + 1 + int(sys.argv[2]) % 500, 65536)):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break
PY
}

make_config() { # a configuration to start from; RUN_DIR/config.yaml is the user's from then on
    [ -e "$CONFIG" ] && return
    device=$(uname -n | tr -c 'A-Za-z0-9._:\n-' '-' | cut -c1-64)
    cat > "$CONFIG" <<YAML
# Made by \`make run\`. Edit it, then \`make reload\`. Every key with its default: deploy/config.yaml
device:
  id: ${device:-belabox-001}
storage:
  path: $RUN_DIR/metrics.db
YAML
}

program() { # program NAME COMMAND: one more process for supervisord to look after
    cat > "$RUN_DIR/programs/$1.conf" <<INI
[program:$1]
priority = 5
command = $2
directory = $HERE
autorestart = true
redirect_stderr = true
stdout_logfile = $LOG_DIR/$1.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 1
INI
}

start_server() { # something to ship to, when the configuration names nothing
    installed=$(command -v victoria-metrics || command -v victoria-metrics-prod || true)
    SERVER=${SERVER:-$([ -n "$installed" ] && echo victoria-metrics || echo bundled)}
    port=$(free_port 8428)
    server="http://127.0.0.1:$port"
    case $SERVER in
    victoria-metrics)
        [ -n "$installed" ] || die 69 "SERVER=victoria-metrics, but it is not installed (Debian: apt-get install victoria-metrics)"
        # Without the dedup flag a chunk that is sent again counts twice; latencyOffset hides the newest 30 s.
        program server "$installed -storageDataPath=$RUN_DIR/victoria-metrics -httpListenAddr=127.0.0.1:$port -retentionPeriod=1y -dedup.minScrapeInterval=1ms -search.latencyOffset=0s"
        what="victoria-metrics" look="$server/vmui or curl '$server/api/v1/query?query=system_load1'" ;;
    bundled)
        program server "$PYTHON -m tests.fake_vm --port $port --data $RUN_DIR/received.jsonl"
        what="bundled receiver" look="curl '$server/api/v1/query?query=system_load1'" ;;
    none) export BELABOX_REMOTE__ENABLED=false; what="none: samples stay on this device" look=""; return ;;
    *) die 64 "SERVER=$SERVER: expected victoria-metrics, bundled or none" ;;
    esac
    export BELABOX_REMOTE__URL="$server/api/v1/import"
}

[ -x "$PYTHON" ] || die 69 "no interpreter at $PYTHON: run \`make setup\` first"
if [ -S "$RUN_DIR/supervisor.sock" ] && "$PYTHON" -m supervisor.supervisorctl -s "unix://$RUN_DIR/supervisor.sock" pid >/dev/null 2>&1; then
    die 75 "already running in $RUN_DIR (\`make status\`, \`make stop\`)"
fi
if [ -n "${CONFIG:-}" ]; then
    [ -r "$CONFIG" ] || die 78 "CONFIG=$CONFIG: cannot be read"
    CONFIG=$(cd "$(dirname "$CONFIG")" && pwd)/$(basename "$CONFIG")
else
    CONFIG=$RUN_DIR/config.yaml
    make_config
fi
export CONFIG
cd "$HERE"
"$PYTHON" -m collectors --check-config --config "$CONFIG" || exit $?
if [ -z "${BELABOX_REMOTE__URL:-}" ] && ! grep -Eq '^[[:space:]]+url:' "$CONFIG"; then
    start_server
else
    what="${BELABOX_REMOTE__URL:-as configured in $CONFIG}" look=""
fi
if [ -z "${BELABOX_HEALTH__PORT:-}" ] && ! grep -Eq '^[[:space:]]+port:' "$CONFIG"; then
    BELABOX_HEALTH__PORT=$(free_port 9100)
    export BELABOX_HEALTH__PORT
fi

[ -z "${DEMO:-}" ] || program demo "$PYTHON -m tests.demo $HOST_ROOT $DEMO"
say "belabox-metrics runs in $RUN_DIR; Ctrl-C ends it."
say "  server    $what"
[ -z "$look" ] || say "            $look"
[ -z "${BELABOX_HEALTH__PORT:-}" ] || say "  health    curl http://127.0.0.1:$BELABOX_HEALTH__PORT/health"
say "  database  sqlite3 $RUN_DIR/metrics.db 'SELECT * FROM metrics ORDER BY id DESC LIMIT 10'"
say "  control   make status, or .venv/bin/supervisorctl -s unix://$RUN_DIR/supervisor.sock"
say "  logs      make logs, or tail -f $LOG_DIR/*.log"
if [ -n "${PLAIN:-}" ]; then exec "$PYTHON" -m supervisor.supervisord -n -c "$HERE/supervisord.conf"; fi
exec "$PYTHON" "$HERE/deploy/supervisord.py" -n -c "$HERE/supervisord.conf"
