# The device's half of deploy/deploy.sh, as root: install PACKAGE, wait WAIT_S for health, else go back.
set -eu
package=$1 wait_s=$2
kept=${BELABOX_DEPLOYED:-/var/cache/belabox-metrics/deployed.deb}

before=$(dpkg-query -W -f '${Version}' belabox-metrics 2>/dev/null || true)
mkdir -p "$(dirname "$kept")"
if dpkg -i "$package" && belabox-metrics wait --seconds "$wait_s"; then
    mv "$package" "$kept"
    echo "installed $(dpkg-query -W -f '${Version}' belabox-metrics)${before:+ in place of $before}"
    belabox-metrics page || true
    exit 0
fi
rm -f "$package"
if [ ! -e "$kept" ]; then
    echo "no package was deployed before this one, nothing to go back to; belabox-metrics doctor says what is missing" >&2
    exit 1
fi
echo "going back to the package before it" >&2
BELABOX_DOWNGRADE=yes dpkg -i "$kept"
belabox-metrics wait --seconds "$wait_s" && echo "it runs again" >&2
exit 1
