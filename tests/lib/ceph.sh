#!/bin/bash
# ceph.sh: a real S3 gateway for tests, a whole small Ceph cluster on loopback that lives as long as the caller wants.
#
#   ceph.sh start DIR   DIR is made; writes DIR/env (HOLDFAST_S3_ENDPOINT, _TLS_ENDPOINT, _CA, _KEY, _SECRET, _KEY2, _SECRET2, _DIR: that of ceph.conf)
#   ceph.sh stop DIR    ends every process of it and removes DIR
#
# STORE=memstore|bluestore (default memstore: all in memory), OSDS=N (default 1), COPIES=N of each object (default 1).
# Region: default. Bucket host names: BUCKET.s3.localhost.
set -eu
command=${1:?start or stop} D=${2:?directory}
STORE=${STORE:-memstore} OSDS=${OSDS:-1} COPIES=${COPIES:-1}
export PATH=/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C

say() { printf 'ceph.sh: %s\n' "$*" >&2; }

# free_ports N: ports that nobody listens at now
free_ports() {
	/usr/bin/python3 - "$1" <<'P'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
P
}

# daemon NAME COMMAND...: its process is in DIR/run/NAME.pid and does not outlive this machine's session of tests
daemon() {
	name=$1
	shift
	"$@" </dev/null >"$D/log/$name.out" 2>&1 &
	echo $! >"$D/run/$name.pid"
}

# wait_until SECONDS WHAT COMMAND...
wait_until() {
	limit=$(($(date +%s) + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		if [ "$(date +%s)" -ge $limit ]; then
			say "no $what"
			tail -n 5 "$D"/log/*.out >&2
			exit 1
		fi
		sleep 0.1 # the pause of a poll
	done
}

ceph_() { timeout 30 ceph -c "$D/ceph.conf" --connect-timeout 10 "$@"; }
admin() { timeout 60 radosgw-admin -c "$D/ceph.conf" -n client.admin --log-file /dev/null "$@"; }

write_conf() {
	cat >"$D/ceph.conf" <<C
[global]
fsid = $FSID
mon_host = v2:127.0.0.1:$MON_PORT
mon_initial_members = a
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = $D/keyring
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
osd_pool_default_size = $COPIES
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
mon_data_avail_warn = 1
run_dir = $D/run
admin_socket = $D/run/\$name.asok
log_file = $D/log/\$name.log
memstore_device_bytes = 8589934592
bluestore_block_size = 21474836480
osd_memory_target = 939524096
osd_objectstore = $STORE
rgw_dns_name = s3.localhost
rgw_data = $D/rgw
rgw_enable_usage_log = false
rgw_gc_obj_min_wait = 5
rgw_max_chunk_size = 4194304
[mon.a]
mon_data = $D/mon
C
	for i in $(seq 0 $((OSDS - 1))); do printf '[osd.%s]\nosd_data = %s/osd.%s\n' "$i" "$D" "$i" >>"$D/ceph.conf"; done
}

# One file of keys for all: they guard a cluster that lives for minutes.
make_keys() {
	ceph-authtool "$D/keyring" --create-keyring --gen-key -n mon. --cap mon 'allow *'
	ceph-authtool "$D/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
	ceph-authtool "$D/keyring" --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
	for i in $(seq 0 $((OSDS - 1))); do
		ceph-authtool "$D/keyring" --gen-key -n "osd.$i" --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
	done
}

start_mon() {
	make_keys >/dev/null
	monmaptool --create --fsid "$FSID" --addv a "[v2:127.0.0.1:$MON_PORT]" "$D/monmap" >/dev/null
	ceph-mon -c "$D/ceph.conf" -i a --mkfs --monmap "$D/monmap" --keyring "$D/keyring"
	daemon mon ceph-mon -f -c "$D/ceph.conf" -i a
	wait_until 30 "monitor" ceph_ mon stat
}

start_osds() {
	ceph_ osd crush add-bucket h host 2>"$D/log/crush"
	ceph_ osd crush move h root=default 2>>"$D/log/crush"
	for i in $(seq 0 $((OSDS - 1))); do
		mkdir -p "$D/osd.$i"
		uuid=$(cat /proc/sys/kernel/random/uuid)
		ceph_ osd new "$uuid" >/dev/null
		ceph-osd -c "$D/ceph.conf" -i "$i" --mkfs --osd-uuid "$uuid" 2>"$D/log/mkfs.$i"
		ceph_ osd crush add "osd.$i" 1.0 host=h
		daemon "osd.$i" ceph-osd -f -c "$D/ceph.conf" -i "$i"
	done 2>"$D/log/osds"
	wait_until 60 "storage daemons" sh -c "timeout 10 ceph -c '$D/ceph.conf' osd stat | grep -q '$OSDS up'"
}

# One gateway in the clear and one behind TLS, with a certificate of an authority of this run's own.
start_gateways() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$D/ca.key" -out "$D/ca.pem" \
		-subj "/CN=tests of holdfast" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/tls.key" -out "$D/tls.csr" -subj /CN=localhost 2>/dev/null
	printf 'subjectAltName=DNS:s3.localhost,DNS:*.s3.localhost,DNS:localhost,IP:127.0.0.1\n' >"$D/tls.ext"
	openssl x509 -req -in "$D/tls.csr" -CA "$D/ca.pem" -CAkey "$D/ca.key" -CAcreateserial -days 2 -extfile "$D/tls.ext" -out "$D/tls.crt" 2>/dev/null
	cat "$D/tls.crt" "$D/tls.key" >"$D/tls.pem"
	daemon rgw radosgw -f -c "$D/ceph.conf" -n client.rgw.a --rgw_frontends \
		"beast endpoint=127.0.0.1:$RGW_PORT ssl_endpoint=127.0.0.1:$TLS_PORT ssl_certificate=$D/tls.pem"
	wait_until 60 "gateway" curl -s --noproxy '*' --connect-timeout 2 -m 5 "http://127.0.0.1:$RGW_PORT/"
}

start() {
	mkdir -p "$D"/log "$D"/run "$D"/rgw
	D=$(cd "$D" && pwd)
	FSID=$(cat /proc/sys/kernel/random/uuid)
	read -r MON_PORT RGW_PORT TLS_PORT <<<"$(free_ports 3)"
	write_conf
	start_mon
	start_osds
	start_gateways
	KEY=holdfasttests SECRET=$(openssl rand -hex 20) KEY2=holdfastother SECRET2=$(openssl rand -hex 20)
	admin user create --uid tests --display-name tests --access-key "$KEY" --secret "$SECRET" --max-buckets 0 >/dev/null
	admin user create --uid other --display-name other --access-key "$KEY2" --secret "$SECRET2" >/dev/null
	cat >"$D/env" <<E
export HOLDFAST_S3_ENDPOINT=http://127.0.0.1:$RGW_PORT
export HOLDFAST_S3_TLS_ENDPOINT=https://s3.localhost:$TLS_PORT
export HOLDFAST_S3_CA=$D/ca.pem
export HOLDFAST_S3_KEY=$KEY HOLDFAST_S3_SECRET=$SECRET
export HOLDFAST_S3_KEY2=$KEY2 HOLDFAST_S3_SECRET2=$SECRET2
export HOLDFAST_S3_DIR=$D
E
}

stop() {
	for pid in "$D"/run/*.pid; do [ -e "$pid" ] && kill -KILL "$(cat "$pid")" 2>/dev/null; done || :
	for pid in "$D"/run/*.pid; do
		while [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.05; done
	done
	rm -rf "$D"
}

case $command in
start) start ;;
stop) stop ;;
*) say "start or stop, not $command"; exit 2 ;;
esac
