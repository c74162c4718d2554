#!/bin/sh
# demo.sh PROGRAM ROOT: a certification authority, its copies at two sites, and the proof that it can be recovered.
# It starts afresh each time: ROOT is emptied if an earlier run made it, and refused if somebody else did.
set -eu
[ $# = 2 ] || { echo "usage: $0 PROGRAM ROOT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
program=$1 root=$2
began=$(date +%s)
unset HOLDFAST_ROOT

for tool in openssl sqlite3; do
	command -v $tool >/dev/null || { echo "$0: $tool is not installed" >&2; exit 1; }
done
[ -x "$program" ] || { echo "$0: $program is not a program" >&2; exit 2; }
case $program in */*) ;; *) program=./$program ;; esac
if [ -e "$root/.made-by-demo" ]; then
	rm -rf "$root"
elif [ -d "$root" ] && [ -n "$(ls -A "$root")" ]; then
	echo "$0: $root is not empty and was not made by this script" >&2
	exit 2
fi
mkdir -p "$root/plans" "$root/sites"
: >"$root/.made-by-demo"
full=$(cd "$root" && pwd)
case $full in *[!A-Za-z0-9/._+-]*) echo "$0: choose a path of plain characters, not $full" >&2; exit 2 ;; esac

# the machine's own files as bulk; a minimal machine has no documents to speak of
bulk=/usr/share/doc
[ "$(du -sk $bulk 2>/dev/null | cut -f 1)" -ge 20480 ] 2>/dev/null || bulk=/usr/share

chapter() {
	printf '\n\n=== %s\n' "$1"
}

# run ARGUMENTS...: shows the command line, then runs it; 3, some files could not be read, is no reason to stop
run() {
	printf '\n$ %s --root %s %s\n' "$program" "$root" "$*"
	status=0
	if [ "$1 $2" = "plan check" ]; then
		"$program" --root "$root" "$@" >"$root/plan-check.txt" || status=$?
		# the rules and the total; the catalogues are long
		awk '/^rules/ {on = 1} /^[a-z0-9-]+$/ && !/^rules/ {on = 0} on; {last = $0} END {print "[...]"; print last}' "$root/plan-check.txt"
	else
		"$program" --root "$root" "$@" || status=$?
	fi
	case $status in
	0) ;;
	3) printf '(exit status 3: copied, but not everything could be read)\n' ;;
	*) printf '\nThe demonstration ends here: exit status %s.\n' $status; exit $status ;;
	esac
}

chapter "A certification authority: root, issuing authority, 300 certificates, 20 of them revoked, a register of subscribers"
"$here/demo/make-ca.sh" "$full/ca"
"$full/ca/bin/issue.sh" 1 300
"$full/ca/bin/revoke.sh" 20
echo "$root/ca: $("$full/ca/bin/list-index.sh" | cut -d , -f 1-2)"
echo "$root/ca: $("$full/ca/bin/verify-crl.sh")"
echo "$root/registry.db: $(sqlite3 "$full/registry.db" 'SELECT count(*) FROM subscriber') subscribers"
echo "$bulk: $(du -sm $bulk 2>/dev/null | cut -f 1) MiB, as bulk"

chapter "The plan, and how it stands to the requirements it names"
"$here/demo/plan.sh" "$full" "$bulk" >"$root/plans/demo.yaml"
echo "$root/plans/demo.yaml"
run plan check "$root/plans/demo.yaml"

chapter "Keys and two sites, 1,100 km apart: Berlin and Helsinki"
run init demo

chapter "First backup"
run backup demo

chapter "Business goes on: 40 more certificates, 3 revocations; the second backup sends only what is new"
"$full/ca/bin/issue.sh" 301 340
"$full/ca/bin/revoke.sh" 3
echo "$root/ca: $("$full/ca/bin/list-index.sh" | cut -d , -f 1-2)"
run backup demo
run snapshots demo

chapter "Would damage be noticed? Recoveries with planted faults, each of which must fail"
run drill demo --negative-only

chapter "The drill: restore, verify every certificate, issue one, compare every byte, and stop the clock"
run drill demo

chapter "The proof: the signed log here and at the sites, and how the plan stands now"
run evidence verify demo
run status demo

chapter "Done in $(($(date +%s) - began)) s. What lies where"
cat <<TEXT
  result    $root/results/demo/latest.json
  evidence  $root/log
  metrics   $root/metrics/holdfast.prom
  sites     $root/sites/berlin, $root/sites/helsinki
  plan      $root/plans/demo.yaml

Try more of it:
  $program --root $root ls demo --source ca
  $program --root $root diff demo --source ca --snapshot 2 --against 1
  $program --root $root restore demo --source ca --to $root/restored
  $program --root $root export demo --source ca --output $root/ca.tar
  $program --root $root verify demo --data
  $program --root $root plan show demo
TEXT
