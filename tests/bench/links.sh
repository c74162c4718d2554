#!/bin/sh
# links.sh [RTT-MS...]: packs of 32 MiB to and from distant sites, beside rclone and restic over the same link: a proxy on loopback that
# delays. Prints MiB/s, the median of REPS. PACKS, THREADS; the server's files lie in SITE (default: memory, so that no disk is measured).
# S3 rows where ENDPOINT (http://ADDRESS:PORT), BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are given, or within tests/with-servers.
# restic has no plain copy: its rows are a backup of random files and a restore of it, with all that costs it.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release} REPS=${REPS:-3} PACKS=${PACKS:-12} THREADS=${THREADS:-4}
if [ -n "${HOLDFAST_S3_ENDPOINT:-}" ]; then
	ENDPOINT=$HOLDFAST_S3_ENDPOINT BUCKET=links-$$
	export AWS_ACCESS_KEY_ID="$HOLDFAST_S3_KEY" AWS_SECRET_ACCESS_KEY="$HOLDFAST_S3_SECRET" REGION=default AWS_DEFAULT_REGION=default
fi
unset AWS_CA_BUNDLE # rclone cannot have it
KINDS=${KINDS:-sftp s3}
TOOLS=${TOOLS:-holdfast libssh2 rclone restic}
SITE=${SITE:-/dev/shm}
T=$(mktemp -d "${TMPDIR:-/dev/shm}/holdfast-links.XXXXXX")
S=$(mktemp -d "$SITE/holdfast-links-site.XXXXXX")
PIDS=
at_exit() {
	for pid in $PIDS; do kill -9 "$pid" 2>/dev/null || :; done
	rm -rf "$T" "$S"
}
trap at_exit EXIT
trap 'exit 130' INT TERM
BENCH=$B/bench/store PROXY=$B/linkproxy
[ -x "$BENCH" ] && [ -x "$PROXY" ] || { echo "links.sh: no $BENCH or no $PROXY; make bench-links builds them" >&2; exit 1; }
export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$T/cache" XDG_CONFIG_HOME="$T" HOME="$T"
USER_NAME=$(id -un)

now() { date +%s.%N; }
# await FILE PID: until the process has written it
await() {
	until [ -s "$1" ]; do
		kill -0 "$2" 2>/dev/null || { echo "links.sh: no $1" >&2; exit 1; }
		sleep 0.02
	done
}
median() { sort -n | awk '{v[NR] = $1} END {printf "%.0f", v[int((NR + 1) / 2)]}'; }
# rate COMMAND...: MiB of the packs by the command's seconds
rate() {
	began=$(now)
	"$@" >"$T/log" 2>&1 || { cat "$T/log" >&2; return 1; }
	echo "$began $(now) $PACKS" | awk '{printf "%.1f\n", $3 * 32 / ($2 - $1)}'
}

mkdir "$T/src"
i=0
while [ $i -lt "$PACKS" ]; do
	head -c 33554432 /dev/urandom >"$T/src/$(printf %04d $i)"
	i=$((i + 1))
done
tests/lib/sshd.sh "$T/sshd" & PIDS="$PIDS $!"
await "$T/sshd/pid" $!

link() {
	rm -f "$T/port"
	"$PROXY" --target "$1" --delay $(($2 / 2)) --port-file "$T/port" & LINK=$!
	PIDS="$PIDS $LINK"
	await "$T/port" "$LINK"
	PORT=$(cat "$T/port")
}
unlink_() {
	kill "$LINK"
	wait "$LINK" 2>/dev/null || :
}

run_sftp() { # TOOL put|get
	case $1 in
	holdfast | libssh2)
		[ "$2" = get ] || rm -rf "$S/hf"
		env ${LIB:+LIBSSH2=1} IDENTITY="$T/sshd/user" KNOWN_HOSTS="$T/known" "$BENCH" "$2" "sftp://$USER_NAME@127.0.0.1:$PORT$S/hf" \
			"$PACKS" 32 "$THREADS" ;;
	rclone)
		remote=":sftp,host=127.0.0.1,port=$PORT,user=$USER_NAME,key_file=$T/sshd/user,known_hosts_file=$T/known,shell_type=none:$S/rclone"
		if [ "$2" = put ]; then
			rm -rf "$S/rclone"
			rate rclone copy --transfers "$THREADS" --checkers 4 "$T/src" "$remote"
		else
			rm -rf "$T/out"
			rate rclone copy --transfers "$THREADS" --checkers 4 "$remote" "$T/out"
		fi ;;
	restic)
		set -- "$2" restic -q -r "sftp:$USER_NAME@127.0.0.1:$S/restic" --pack-size 32 --compression off \
			-o "sftp.command=ssh -F none -p $PORT -i $T/sshd/user -o UserKnownHostsFile=$T/known $USER_NAME@127.0.0.1 -s sftp"
		run_restic "$@" ;;
	esac
}
run_restic() {
	what=$1
	shift
	if [ "$what" = put ]; then
		if [ "$KIND" = sftp ]; then
			rm -rf "$S/restic" # made without the link: it asks for 256 directories, one after the other
			restic -q -r "$S/restic" init >"$T/log" 2>&1
		else
			"$@" init >"$T/log" 2>&1
		fi
		rate "$@" backup "$T/src"
	else
		rm -rf "$T/out" "$T/cache"
		rate "$@" restore latest --target "$T/out"
	fi
}
run_s3() { # TOOL put|get
	endpoint=http://127.0.0.1:$PORT
	case $1 in
	holdfast)
		ENDPOINT=$endpoint "$BENCH" "$2" "s3://$BUCKET/hf$RTT-$RUN" "$PACKS" 32 "$THREADS" ;;
	rclone)
		remote=":s3,provider=Ceph,endpoint='$endpoint',access_key_id=$AWS_ACCESS_KEY_ID,secret_access_key=$AWS_SECRET_ACCESS_KEY:$BUCKET/rclone$RTT-$RUN"
		if [ "$2" = put ]; then
			rate rclone copy --transfers "$THREADS" "$T/src" "$remote"
		else
			rm -rf "$T/out"
			rate rclone copy --transfers "$THREADS" "$remote" "$T/out"
		fi ;;
	restic)
		what=$2
		set -- restic -q -r "s3:$endpoint/$BUCKET/restic$RTT-$RUN" --pack-size 32 --compression off
		run_restic "$what" "$@" ;;
	esac
}

measure() { # KIND TOOL
	for what in put get; do
		: >"$T/$what"
	done
	RUN=0 KIND=$1
	while [ $RUN -lt "$REPS" ]; do
		for what in put get; do
			"run_$1" "$2" $what >>"$T/$what"
		done
		RUN=$((RUN + 1))
	done
	printf '%-6s %-10s %6s ms  %6s up  %6s down\n' "$1" "$2" "$RTT" "$(median <"$T/put")" "$(median <"$T/get")"
}

printf '%s packs of 32 MiB, %s at a time, MiB/s, median of %s\n' "$PACKS" "$THREADS" "$REPS"
for RTT in "${@:-0}"; do
	for kind in $KINDS; do
		[ "$kind" = sftp ] || [ -n "${ENDPOINT:-}" ] || continue
		target=127.0.0.1:$(cat "$T/sshd/port")
		[ "$kind" = sftp ] || target=${ENDPOINT#http://}
		link "$target" "$RTT"
		tests/lib/sshd.sh --pin "$T/sshd" "$PORT" >"$T/known"
		# The first to come would pay for the memory that the gateway takes.
		[ "$kind" = sftp ] || RUN=first run_s3 holdfast put >/dev/null
		for tool in $TOOLS; do
			LIB=
			[ "$tool" != libssh2 ] || LIB=1
			[ "$kind$tool" = s3libssh2 ] || measure "$kind" "$tool"
		done
		unlink_
	done
done
