#!/bin/sh
# Judge documents: check-docs.sh MAN-DIR COMPLETION-DIR AGENT...
# Every page must pass mandoc's lint; a reference to a page that is not installed yet is fine when that page is in MAN-DIR. Every agent has a
# page, and that has each option of its usage text.
set -eu
man=$1 completion=$2 bad=0 pages=0
shift 2

for page in "$man"/*.1; do
	pages=$((pages + 1))
	mandoc -Tlint -Wall "$page" | while IFS= read -r line; do
		missing=${line#*referenced manual not found: Xr }
		if [ "$missing" != "$line" ] && [ -f "$man/${missing%% *}.1" ]; then
			continue
		fi
		printf '%s\n' "$line"
	done >"$man/lint"
	if [ -s "$man/lint" ]; then
		cat "$man/lint" >&2
		bad=1
	fi
	rm -f "$man/lint"
done
if [ "$pages" -lt 2 ]; then
	echo "check-docs: no manual pages in $man" >&2
	bad=1
fi
for agent in "$@"; do
	page=$man/${agent##*/}.1
	for option in $("$agent" --help 2>&1 </dev/null | grep -o -- '--[a-z-]*' | sort -u); do
		if ! grep -qs -- "Fl .${option#-}" "$page"; then
			echo "check-docs: $page lacks $option" >&2
			bad=1
		fi
	done
done
bash -n "$completion/holdfast.bash" || bad=1
[ -s "$completion/holdfast.fish" ] || bad=1
if command -v fish >/dev/null; then
	fish -n "$completion/holdfast.fish" || bad=1
fi
[ "$bad" -eq 0 ] || exit 1
echo "check-docs: $pages pages"
