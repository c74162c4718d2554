#!/bin/sh
# sshd.sh DIR [CONFIG-LINE...]: an OpenSSH server on loopback in the foreground, for as long as the caller lets it run. Its configuration
# lines come first, so they win over ours. Below DIR, which is made: port, pid (written once it listens), log, user (the client's key, who
# may log in as the user that runs this), known_hosts (for that port; `known_hosts_for PORT` by `sshd.sh --pin DIR PORT`).
set -eu
pin() {
	for type in ed25519 ecdsa; do printf '[127.0.0.1]:%s %s\n' "$2" "$(cut -d' ' -f1,2 "$1/host_$type.pub")"; done
}
if [ "$1" = --pin ]; then pin "$2" "$3"; exit 0; fi
dir=$1
shift
mkdir -p "$dir"
chmod 700 "$dir"
dir=$(cd "$dir" && pwd)
for type in ed25519 ecdsa; do
	[ -f "$dir/host_$type" ] || ssh-keygen -q -t $type -N '' -C test -f "$dir/host_$type"
done
[ -f "$dir/user" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/user"
[ -f "$dir/stranger" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/stranger"
cp "$dir/user.pub" "$dir/authorized_keys"
rm -f "$dir/pid"
# Below the range from which clients get theirs, so that nobody takes it between the look and the server's own bind.
[ -s "$dir/port" ] || /usr/bin/python3 -c 'import random, socket
while True:
    port = random.randrange(10000, 32000)
    try:
        socket.socket().bind(("127.0.0.1", port))
    except OSError:
        continue
    print(port)
    break' >"$dir/port"
port=$(cat "$dir/port")
pin "$dir" "$port" >"$dir/known_hosts"
# KexAlgorithms: what ssh would take by itself costs it 60 ms in each of thousands of connections.
# SHLVL: bash as a login shell reads a user's ~/.bashrc for each command unless it is told that it is not the outermost.
{
	printf '%s\n' "$@"
	cat <<END
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host_ed25519
HostKey $dir/host_ecdsa
AuthorizedKeysFile $dir/authorized_keys
PidFile $dir/pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
MaxStartups 200
MaxSessions 100
LogLevel VERBOSE
SetEnv SHLVL=1
KexAlgorithms curve25519-sha256
END
	case "$*" in *"Subsystem sftp "*) ;; *) echo "Subsystem sftp internal-sftp" ;; esac
} >"$dir/config"
# The server needs it for as long as it runs, and it lives in memory only.
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
# -r: it does not start itself anew for each connection, which is a fifth of what one costs.
exec /usr/sbin/sshd -r -D -f "$dir/config" -E "$dir/log"
