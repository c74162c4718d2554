#!/bin/sh
# Install the Debian packages named, those only that are missing. Services are kept from starting.
set -eu
missing=
for p in "$@"; do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "these packages are needed, and only root can install them:$missing" >&2; exit 1; }
	sudo=sudo
fi
echo "installing:$missing"
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
	made=1
fi
[ -z "$made" ] || trap '$sudo rm -f $policy' EXIT
log=$(mktemp)
# shellcheck disable=SC2086
if ! { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing ||
	{ $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; }; } >"$log" 2>&1; then
	tail -30 "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
