#!/bin/sh
# Install or upgrade on a Debian or Ubuntu device. Run as root from a checkout.
#
#   deploy/install.sh [--dry-run] [--no-start]
#   deploy/install.sh --uninstall [--purge]     (data and configuration stay unless --purge)
set -eu

PREFIX=/opt/belabox-metrics
CONFIG_DIR=/etc/belabox-metrics
DATA_DIR=/var/lib/belabox-metrics
LOG_DIR=/var/log/belabox-metrics
UNIT=/etc/systemd/system/belabox-metrics.service
USER_NAME=metrics
HERE=$(cd "$(dirname "$0")/.." && pwd)

DRY_RUN='' START=yes ACTION=install PURGE=''
for option in "$@"; do
    case $option in
    --dry-run) DRY_RUN=yes ;;
    --no-start) START='' ;;
    --uninstall) ACTION=uninstall ;;
    --purge) PURGE=yes ;;
    -h | --help) sed -n '2,6p' "$0" | cut -c3-; exit 0 ;;
    *) echo "unknown option $option (--help)" >&2; exit 64 ;;
    esac
done

say() { printf '%s\n' "$*"; }
run() { # say what is done, and do it unless --dry-run
    say "  $*"
    [ -n "$DRY_RUN" ] || "$@"
}
systemd() { # systemctl where systemd runs; elsewhere there is nothing to tell it
    [ -d /run/systemd/system ] || return 0
    run systemctl "$@"
}

uninstall() {
    say "Removing belabox-metrics"
    systemd disable --now belabox-metrics || true
    run rm -rf "$PREFIX" "$UNIT"
    systemd daemon-reload
    if [ -n "$PURGE" ]; then
        run rm -rf "$CONFIG_DIR" "$DATA_DIR" "$LOG_DIR"
        if id "$USER_NAME" >/dev/null 2>&1; then run userdel "$USER_NAME"; fi
    else
        say "Kept: $CONFIG_DIR $DATA_DIR $LOG_DIR and user $USER_NAME (--purge removes them)"
    fi
}

check() {
    [ "$(id -u)" = 0 ] || [ -n "$DRY_RUN" ] || { echo "run it as root (or with --dry-run)" >&2; exit 77; }
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed" >&2; exit 69; }
    python3 -c 'import ensurepip' 2>/dev/null || { echo "missing: apt-get install python3-venv" >&2; exit 69; }
}

add_user() {
    id "$USER_NAME" >/dev/null 2>&1 || run useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$USER_NAME"
}

add_files() {
    run mkdir -p "$PREFIX"
    for part in common collectors buffer shipper healthd deploy; do
        run rm -rf "$PREFIX/$part"
        run cp -R "$HERE/$part" "$PREFIX/$part"
    done
    run cp "$HERE/supervisord.conf" "$HERE/requirements.lock" "$PREFIX/"
    # So that `supervisorctl` works from the prefix: its socket is run/supervisor.sock.
    run ln -sfn /run/belabox-metrics "$PREFIX/run"
    [ -x "$PREFIX/.venv/bin/python" ] || run python3 -m venv "$PREFIX/.venv"
    run "$PREFIX/.venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$PREFIX/requirements.lock"
    run "$PREFIX/.venv/bin/python" -m compileall -q "$PREFIX/common" "$PREFIX/collectors" "$PREFIX/buffer" "$PREFIX/shipper" "$PREFIX/healthd"
    run chmod -R go-w "$PREFIX"
    run chmod -R a+rX "$PREFIX"
}

add_config() {
    run install -d -m 0750 -o root -g "$USER_NAME" "$CONFIG_DIR"
    run install -d -m 0750 -o "$USER_NAME" -g "$USER_NAME" "$DATA_DIR" "$LOG_DIR"
    [ -e "$CONFIG_DIR/config.yaml" ] || run install -m 0640 -o root -g "$USER_NAME" "$HERE/deploy/config.yaml" "$CONFIG_DIR/config.yaml"
    if [ -e "$CONFIG_DIR/api-token" ]; then
        run chown "$USER_NAME:$USER_NAME" "$CONFIG_DIR/api-token"
        run chmod 0600 "$CONFIG_DIR/api-token"
    fi
    run install -m 0644 "$HERE/deploy/systemd/belabox-metrics.service" "$UNIT"
}

start() {
    systemd daemon-reload
    systemd enable belabox-metrics
    [ -z "$START" ] || systemd restart belabox-metrics
}

if [ "$ACTION" = uninstall ]; then
    check
    uninstall
    exit 0
fi
check
say "Installing belabox-metrics into $PREFIX${DRY_RUN:+ (dry run: nothing is done)}"
add_user
add_files
add_config
start
say "Done. Set remote.url in $CONFIG_DIR/config.yaml, then: systemctl reload belabox-metrics"
say "Look: systemctl status belabox-metrics; curl http://127.0.0.1:9100/health"
say "      cd $PREFIX && sudo -u $USER_NAME .venv/bin/supervisorctl status"
