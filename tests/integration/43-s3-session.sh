#!/bin/sh
# Temporary keys of a real token service: the gateway's own STS gives two keys and a token, and nothing works without the token.
# Run it by tests/with-servers.
. "$(dirname "$0")/../lib/lib.sh"
[ -n "${HOLDFAST_S3_DIR:-}" ] || skip "needs an S3 gateway of its own: tests/with-servers COMMAND"
needs curl radosgw radosgw-admin
WHO=sts$(basename "$T" | tr -dc 'A-Za-z0-9' | tr 'A-Z' 'a-z')
BUCKET=hf-$WHO
admin() { radosgw-admin -c "$HOLDFAST_S3_DIR/ceph.conf" -n client.admin --log-file /dev/null "$@" >"$T/admin.out" 2>&1 || fail "radosgw-admin $*: $(cat "$T/admin.out")"; }
# ask SERVICE NAME=VALUE...: of the gateway's identity services, as the user with lasting keys
ask() {
	service=$1
	shift
	for member in "$@"; do
		set -- "$@" --data-urlencode "$member"
		shift
	done
	curl -sf --noproxy '*' --aws-sigv4 "aws:amz:default:$service" --user "$WHO:lasting" "$@" "$HOLDFAST_S3_ENDPOINT/" >"$T/answer" || fail "the gateway refuses $service: $(tail -n 5 "$T/gateway.log")"
}
# session NAME ACTION...: temporary keys into $T/NAME.access, .secret and .token
session() {
	session_name=$1
	shift
	ask sts Version=2011-06-15 DurationSeconds=900 "$@"
	for part in AccessKeyId:access SecretAccessKey:secret SessionToken:token; do
		(umask 077 && grep -o "<${part%:*}>[^<]*" "$T/answer" | sed 's/^[^>]*>//' | tr -d '\n' >"$T/$session_name.${part#*:}")
		[ -s "$T/$session_name.${part#*:}" ] || fail "no ${part%:*} in: $(cat "$T/answer")"
	done
}
# plan FILE KEYS TOKEN: the keys of one session with a reference to a token, or without
plan() {
	{
		printf 'plan: sts\ntargets: {rto: 1h, rpo: 1h}\nsources:\n  - {name: files, paths: ["%s"]}\nsites:\n' "$T/src"
		printf '  - {name: cloud, url: "s3://%s/ca", endpoint: "%s", region: default, access_key: "file:%s.access", secret_key: "file:%s.secret"%s}\n' \
			"$BUCKET" "$HOLDFAST_S3_ENDPOINT" "$T/$2" "$T/$2" "${3:+, session_token: \"$3\"}"
	} >"$1"
}

# A gateway of its own, since one that knows sessions words its refusals otherwise.
PORT=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
start radosgw -f -c "$HOLDFAST_S3_DIR/ceph.conf" -n client.rgw.a --log-file "$T/gateway.log" --admin-socket "$T/gateway.asok" --rgw_frontends "beast endpoint=127.0.0.1:$PORT" \
	--rgw_s3_auth_use_sts=true --rgw_sts_key=holdfasttestssts
HOLDFAST_S3_ENDPOINT=http://127.0.0.1:$PORT
wait_for 60 curl -s --noproxy '*' --connect-timeout 2 -m 5 "$HOLDFAST_S3_ENDPOINT/" -o "$T/answer"

mkdir "$T/src"
head -c 20000000 /dev/urandom >"$T/src/large"
admin user create --uid "$WHO" --display-name "$WHO" --access-key "$WHO" --secret lasting --caps "user-policy=*"
ask iam Action=PutUserPolicy "UserName=$WHO" PolicyName=sessions \
	'PolicyDocument={"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:GetSessionToken","Resource":"*"}]}'
session mine Action=GetSessionToken

note "without the token, or with that of another session, the keys open nothing"
session other Action=GetSessionToken
export WRONG_TOKEN
WRONG_TOKEN=$(cat "$T/other.token")
plan "$T/plan.yaml" mine "file:$T/mine.token"
plan "$T/bare.yaml" mine
plan "$T/wrong.yaml" mine env:WRONG_TOKEN
for bad in bare wrong; do
	hf init "$T/$bad.yaml" >"$T/out" 2>"$T/err" && fail "$bad: the gateway does not look at the token"
	assert_contains "$T/err" "site cloud"
	assert_contains "$T/err" "answers 403"
done

note "with it all goes as with lasting keys"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
hf verify "$T/bare.yaml" >"$T/out" 2>"$T/err" && fail "the keys work without the token"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf restore "$T/plan.yaml" --to "$T/back"
same_tree "$T/src" "$T/back$T/src"

note "keys of the next session take over where the last ended, those of a role too"
echo more >"$T/src/more"
plan "$T/plan.yaml" other "file:$T/other.token"
assert_status 0 hf backup "$T/plan.yaml"
admin role create --role-name "$WHO" --path / --assume-role-policy-doc \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam:::user/$WHO\"]},\"Action\":[\"sts:AssumeRole\"]}]}"
admin role-policy put --role-name "$WHO" --policy-name reads --policy-doc \
	'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"arn:aws:s3:::*"}]}'
session role Action=AssumeRole "RoleArn=arn:aws:iam:::role/$WHO" RoleSessionName=reader
plan "$T/reader.yaml" role "file:$T/role.token"
assert_status 0 hf snapshots "$T/reader.yaml"
echo never >"$T/src/never"
hf backup "$T/reader.yaml" >"$T/out" 2>"$T/err" && fail "a role that only reads has written"
assert_contains "$T/err" 403

note "a token is in no message, result or log"
for name in mine other role; do
	! grep -rqF "$(cat "$T/$name.token")" "$R" || fail "the token of $name is in $(grep -rlF "$(cat "$T/$name.token")" "$R")"
done
