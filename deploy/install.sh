#!/bin/sh
# Install, upgrade, roll back or remove belabox-metrics on a Debian or Ubuntu device. Run as root from a checkout.
#
#   deploy/install.sh [options]      install, or upgrade in place: data and configuration stay, nothing is lost
#   deploy/install.sh --rollback     go back to the release before this one
#   deploy/install.sh --uninstall    remove the program; --purge: also data, configuration, logs and the user
#
#   --dry-run       say what would be done
#   --no-start      leave the service as it is
#   --wheels DIR    take the packages from DIR (`make wheelhouse`), not from the network
#   --root DIR      below DIR instead of /, without users and systemd: to try it
set -eu
umask 022 # what is installed is readable by the service's user, whatever root's umask is

HERE=$(cd "$(dirname "$0")/.." && pwd)
USER_NAME=metrics
UNITS="belabox-metrics.service belabox-metrics-srt.service"
DRY_RUN='' START=yes ACTION=install PURGE='' WHEELS='' ROOT='' IS_NEW=''
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) DRY_RUN=yes ;;
    --no-start) START='' ;;
    --rollback) ACTION=rollback ;;
    --uninstall) ACTION=uninstall ;;
    --purge) PURGE=yes ;;
    --wheels) WHEELS=$(cd "${2:?--wheels needs a folder}" && pwd); shift ;;
    --root) ROOT=$(cd "${2:?--root needs a folder}" && pwd); shift ;;
    -h | --help) sed -n '2,11p' "$0" | cut -c3-; exit 0 ;;
    *) echo "unknown option $1 (--help)" >&2; exit 64 ;;
    esac
    shift
done

PREFIX=$ROOT/opt/belabox-metrics # a link to the release in use
RELEASES=$ROOT/opt/belabox-metrics.releases
CONFIG_DIR=$ROOT/etc/belabox-metrics
DATA_DIR=$ROOT/var/lib/belabox-metrics
LOG_DIR=$ROOT/var/log/belabox-metrics
UNIT_DIR=$ROOT/etc/systemd/system
COMMAND=$ROOT/usr/local/bin/belabox-metrics
COMPLETION=$ROOT/usr/local/share/bash-completion/completions/belabox-metrics

say() { printf '%s\n' "$*"; }
run() { # say what is done, and do it unless --dry-run
    say "  $*"
    [ -n "$DRY_RUN" ] || "$@"
}
systemd() { # systemctl where systemd runs and it is about this machine
    [ -z "$ROOT" ] && [ -d /run/systemd/system ] || return 0
    run systemctl "$@"
}
as_service() { # as the user who will run it, where there is one: what root may open, the service may not
    if [ -z "$ROOT" ]; then run runuser -u "$USER_NAME" -- "$@"; else run env BELABOX_HEALTH__PORT=0 "$@"; fi
}
own() { # own USER:GROUP PATH...
    [ -n "$ROOT" ] || run chown "$@"
}

check() {
    if [ -z "$ROOT" ] && [ -z "$DRY_RUN" ] && [ "$(id -u)" != 0 ]; then
        echo "run it as root (or with --dry-run, or --root)" >&2
        exit 77
    fi
}

check_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed" >&2; exit 69; }
    python3 -c 'import ensurepip' 2>/dev/null || { echo "missing: apt-get install python3-venv" >&2; exit 69; }
}

add_user() {
    [ -z "$ROOT" ] || return 0
    id "$USER_NAME" >/dev/null 2>&1 ||
        run useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$USER_NAME"
}

add_release() { # a folder of its own, complete before anything refers to it
    number=$(find "$RELEASES" -maxdepth 1 -name '[0-9]*' 2>/dev/null | sed 's|.*/||' | sort -n | tail -1)
    RELEASE=$RELEASES/$((${number:-0} + 1))
    run mkdir -p "$RELEASE"
    for part in common collectors buffer shipper healthd deploy supervisord.conf requirements.lock docs README.md SECURITY.md CHANGELOG.md LICENSE; do
        run cp -R "$HERE/$part" "$RELEASE/$part"
    done
    run rm -rf "$RELEASE/deploy/docker" # the server's, with its secrets where this is one
    run python3 -m venv "$RELEASE/.venv"
    run "$RELEASE/.venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        ${WHEELS:+--no-index --find-links "$WHEELS"} -r "$RELEASE/requirements.lock"
    run "$RELEASE/.venv/bin/python" -m compileall -q "$RELEASE/common" "$RELEASE/collectors" "$RELEASE/buffer" \
        "$RELEASE/shipper" "$RELEASE/healthd" "$RELEASE/deploy"
    # So that `supervisorctl` works from the prefix: its socket is run/supervisor.sock.
    run ln -sfn /run/belabox-metrics "$RELEASE/run"
    run chmod -R go-w,a+rX "$RELEASE"
}

use() { # use RELEASE: from one moment to the next
    if [ -d "$PREFIX" ] && [ ! -L "$PREFIX" ]; then # from before there were releases
        run mv "$PREFIX" "$RELEASES/0"
    elif [ -L "$PREFIX" ]; then
        run ln -sfn "$(readlink "$PREFIX")" "$RELEASES/previous"
    fi
    run ln -sfn "$1" "$PREFIX.new"
    run mv -T "$PREFIX.new" "$PREFIX"
}

drop_old_releases() { # all but the one in use and the one before it
    for release in "$RELEASES"/[0-9]*; do
        case $release in
        "$RELEASE" | "$(readlink "$RELEASES/previous" || true)") ;;
        *) [ ! -d "$release" ] || run rm -rf "$release" ;;
        esac
    done
}

add_config() {
    run mkdir -p "$CONFIG_DIR" "$DATA_DIR" "$LOG_DIR" "$UNIT_DIR"
    run chmod 0750 "$CONFIG_DIR" "$DATA_DIR" "$LOG_DIR"
    if [ ! -e "$CONFIG_DIR/config.yaml" ]; then
        IS_NEW=yes
        run cp "$HERE/deploy/config.yaml" "$CONFIG_DIR/config.yaml"
        run chmod 0640 "$CONFIG_DIR/config.yaml"
    fi
    own "root:$USER_NAME" "$CONFIG_DIR" "$CONFIG_DIR/config.yaml"
    own "$USER_NAME:$USER_NAME" "$DATA_DIR" "$LOG_DIR"
    for secret in api-token page-token; do
        [ -e "$CONFIG_DIR/$secret" ] || continue
        own "$USER_NAME:$USER_NAME" "$CONFIG_DIR/$secret"
        run chmod 0600 "$CONFIG_DIR/$secret"
    done
}

add_command() { # on PATH, whichever release is in use
    run mkdir -p "$(dirname "$COMMAND")" "$(dirname "$COMPLETION")"
    run ln -sfn "${PREFIX#"$ROOT"}/deploy/belabox-metrics" "$COMMAND"
    if [ -z "$DRY_RUN" ] && [ -x "$PREFIX/deploy/belabox-metrics" ]; then
        "$PREFIX/deploy/belabox-metrics" completion bash > "$COMPLETION"
    fi
}

add_units() {
    for unit in $UNITS; do
        run cp "$PREFIX/deploy/systemd/$unit" "$UNIT_DIR/$unit"
    done
    systemd daemon-reload
    # shellcheck disable=SC2086 # two units
    systemd enable $UNITS
    # Of a release that ended again and again systemd starts nothing more, the one before it neither.
    # shellcheck disable=SC2086 # two units
    systemd reset-failed $UNITS 2>/dev/null || true
    [ -z "$START" ] || systemd restart belabox-metrics
}

ask_to_share() { # a person at a terminal, once; whatever is not a yes is a no
    [ -t 0 ] && [ -t 1 ] || return 0
    printf 'Open the page to this network, for your phone? [y/N] '
    read -r answer || answer=''
    case $answer in
    [yY]*) if "$COMMAND" wait && "$COMMAND" page --share; then return 0; fi ;;
    esac
    say "Later: sudo belabox-metrics page --share"
}

install_all() {
    check_python
    say "Installing belabox-metrics into $PREFIX${DRY_RUN:+ (dry run: nothing is done)}"
    add_user
    add_release
    add_config
    # A file that this release does not understand is found before the switch; the old one goes on meanwhile.
    [ -n "$DRY_RUN" ] || (cd "$RELEASE" && as_service .venv/bin/python -m collectors --check-config --config "$CONFIG_DIR/config.yaml")
    use "$RELEASE"
    add_command
    add_units
    drop_old_releases
    say "Done. Set remote.url in $CONFIG_DIR/config.yaml, then: systemctl reload belabox-metrics"
    say "Look: sudo belabox-metrics status; belabox-metrics doctor; the page at http://127.0.0.1:9100/"
    [ -z "$IS_NEW" ] || [ -z "$START" ] || [ -n "$ROOT$DRY_RUN" ] || ask_to_share
}

roll_back() {
    before=$(readlink "$RELEASES/previous" || true)
    [ -d "$before" ] || { echo "there is no release before this one" >&2; exit 69; }
    say "Going back to $before"
    use "$before"
    add_units
}

uninstall() {
    say "Removing belabox-metrics"
    # shellcheck disable=SC2086 # two units
    systemd disable --now $UNITS || true
    for unit in $UNITS; do run rm -f "$UNIT_DIR/$unit"; done
    run rm -rf "$PREFIX" "$RELEASES"
    run rm -f "$COMMAND" "$COMPLETION"
    systemd daemon-reload
    if [ -n "$PURGE" ]; then
        run rm -rf "$CONFIG_DIR" "$DATA_DIR" "$LOG_DIR"
        if [ -z "$ROOT" ] && id "$USER_NAME" >/dev/null 2>&1; then run userdel "$USER_NAME"; fi
    else
        say "Kept: $CONFIG_DIR $DATA_DIR $LOG_DIR and user $USER_NAME (--purge removes them)"
    fi
}

check
case $ACTION in
install) install_all ;;
rollback) roll_back ;;
uninstall) uninstall ;;
esac
