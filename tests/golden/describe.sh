# shellcheck shell=sh
# describe DIR: one line for everything in it: kind, mode, time, number of names, size, digest, name, target of a link
describe() {
	(cd "$1" && find . -printf '%y %m %T@ %n %s %p\n' | sort -k 6 | while read -r kind mode mtime names size path; do
		digest=-
		[ "$kind" = f ] && digest=$(sha256sum <"$path" | cut -d' ' -f1)
		[ "$kind" = f ] || names=- size=-
		target=
		[ "$kind" != l ] || mode=- target=" -> $(readlink "$path")"
		echo "$kind $mode $mtime $names $size $digest $path$target"
	done)
}
