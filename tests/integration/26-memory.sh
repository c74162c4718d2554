#!/bin/sh
# A bound on memory is kept, and one that cannot be kept is refused before anything is touched.
. "$(dirname "$0")/../lib/lib.sh"

simple_plan "$T/plan.yaml" one
$PYTHON - "$T/src" <<'PY'
import os, random, sys
rnd = random.Random(1)
os.makedirs(sys.argv[1], exist_ok=True)
for i in range(3):
    with open(f"{sys.argv[1]}/large{i}", "wb") as f:
        for _ in range(32):
            f.write(rnd.randbytes(1 << 20) + bytes(1 << 20))
for i in range(800):
    open(f"{sys.argv[1]}/small{i}", "wb").write(rnd.randbytes(rnd.randrange(1, 200000)))
PY
assert_status 0 hf init "$T/plan.yaml"

# peak ARGUMENTS...: highest memory of the program in MiB
peak() {
	$PYTHON - "$HOLDFAST" --root "$R" --progress none "$@" <<'PY'
import resource, subprocess, sys
run = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
sys.exit(run.returncode) if run.returncode else print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
PY
}

note "too little is refused with what is needed, and no site is touched"

assert_status 2 hf backup "$T/plan.yaml" --memory 20MiB
assert_contains "$T/err" "too little"
assert_contains "$T/err" "at least"
[ "$(find "$T/sites/one" -type f -path '*/w/*' | wc -l)" = 0 ] || fail "an attempt was begun"
least=$(sed -n 's/.*at least \([0-9]*\)MiB.*/\1/p' "$T/err")

note "the least that it names ($least MiB) is enough, and is kept"
seen=$(peak backup "$T/plan.yaml" --memory "${least}MiB")
assert_less "$seen" $((least + 1)) "peak of a backup, in MiB"
assert_status 0 hf restore "$T/plan.yaml" --to "$T/back"
diff -r "$T/src" "$T/back$T/src" || fail "restored data differ"
