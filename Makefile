# holdfast: one non-recursive makefile. `make help` lists the targets.
#   V=1 shows commands, SAN=address,undefined or SAN=thread builds with sanitizers, CC=clang and DEBUG=1 do what they say.
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
comma := ,
VARIANT := $(if $(SAN),$(subst $(comma),-,$(SAN)),$(if $(DEBUG),debug,release))$(if $(filter clang%,$(CC)),-clang)
B := build/$(VARIANT)
Q := $(if $(V),,@)

# Debian 12 packages: to build and run the demo, and on top of them to run the tests
DEPS := gcc libc6-dev pkg-config libarchive-dev libzstd-dev libssl-dev libjansson-dev libfyaml-dev libacl1-dev libcurl4-openssl-dev libexpat1-dev libssh2-1-dev \
	openssl openssh-client sqlite3 tzdata ca-certificates
CHECK_DEPS := check git python3 python3-jsonschema python3-cryptography attr acl rsync strace procps mandoc prometheus shellcheck \
	openssh-server iproute2 curl radosgw ceph-mon ceph-osd ceph-common
BENCH_DEPS := restic borgbackup rclone time zstd python3

PKGS := libarchive libzstd libcrypto jansson libfyaml libacl libcurl expat libssh2
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wundef -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings $(if $(CI),-Werror)
OPT := $(if $(SAN),-O1 -g1 -fno-omit-frame-pointer -fsanitize=$(SAN) $(if $(findstring thread,$(SAN)),,-fno-sanitize-recover=all),$(if $(DEBUG),-O0 -g,-O2 -g -D_FORTIFY_SOURCE=3 -fstack-protector-strong))
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -fPIE -pthread $(OPT) $(WARN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
# the runtimes of the sanitizers linked in: two libraries less for the leak check of every test to look through
LDFLAGS_ALL := -pie -pthread $(if $(SAN),-fsanitize=$(SAN) $(if $(filter address-undefined,$(VARIANT)),-static-libasan -static-libubsan),-Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now) $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm
CHECK_LIBS = $(shell pkg-config --libs check)

LIB_SRC := $(filter-out src/cli/main.c,$(sort $(wildcard src/*/*.c)))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
LIB := $(B)/libholdfast.a
UNIT := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/t_*.c)))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/f_*.c)))
FLEET := $(sort $(wildcard tests/fleet/[0-9]*.sh))
INTEGRATION := $(sort $(wildcard tests/integration/[0-9]*.sh))
# unit tests of what runs on several threads: they run under the thread sanitizer too, of ON_THREADS only the cases with that tag
THREADED := $(filter t_store t_store_s3 t_store_filters t_store_retry t_store_throttle t_store_multi t_probe t_restore t_restore_hostile t_manifest t_reader t_fetch t_session t_session_faults t_check t_check_at_site t_base_os t_wire t_wire_life t_wire_same t_vault t_agent t_ssh t_store_sftp,$(UNIT))
ON_THREADS := t_store t_store_s3 t_store_sftp t_vault t_wire_life t_wire_same t_restore_hostile

AGENTS := $(patsubst agents/%.c,$(B)/holdfast-%,$(wildcard agents/*.c))

all: $(B)/holdfast $(AGENTS) ## build the programs (build/release/holdfast and its agents)

$(B)/flags: FORCE
	@mkdir -p $(B); echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' > $@

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC $<")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# catalogues and templates are compiled in
$(B)/src/plan/data.o: $(wildcard plans/catalogues/*.json plans/templates/*.yaml)

$(LIB): $(LIB_OBJ)
	$(Q)rm -f $@; $(AR) rcs $@ $^

$(B)/holdfast: $(B)/src/cli/main.o $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/holdfast-%: $(B)/agents/%.o $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# --- packages ---
deps: ## install what building and the demo need (Debian 12)
	$(Q)tests/tools/install-packages.sh $(DEPS)

check-deps: deps ## install what the tests need on top; services are kept from starting
	$(Q)tests/tools/install-packages.sh $(CHECK_DEPS)

# --- the main job, on real input ---
demo: deps ## make a certification authority, back it up, drill its recovery, show the proof (build/demo)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)examples/demo.sh $(B)/holdfast build/demo

# --- tests ---
STORE_SUITE := $(B)/tests/unit/store_conformance.o $(B)/tests/unit/store_races.o $(B)/tests/unit/store_helpers.o
$(addprefix $(B)/tests/,t_store t_store_filters t_store_retry t_store_throttle t_store_multi): $(STORE_SUITE) $(B)/tests/unit/store_rich.o
$(addprefix $(B)/tests/,t_wire t_wire_life t_wire_same t_vault): $(STORE_SUITE) $(B)/tests/unit/store_rich.o $(B)/tests/unit/wire_fixture.o
$(addprefix $(B)/tests/,t_store_s3 t_s3_lies): $(STORE_SUITE) $(B)/tests/unit/s3_fixture.o
$(addprefix $(B)/tests/,t_restore t_restore_hostile t_manifest t_reader t_fetch t_check t_check_at_site t_session t_session_faults t_session_killed t_replicate t_repair t_scan_repo t_writer): $(B)/tests/unit/repo_fixture.o
$(addprefix $(B)/tests/,t_session t_session_faults t_session_killed): $(B)/tests/unit/session_fixture.o

$(addprefix $(B)/tests/,t_ssh t_store_sftp t_sftp_cut t_sftp_hostile): $(STORE_SUITE) $(B)/tests/unit/sshd_fixture.o | $(B)/linkproxy
$(B)/tests/t_sftp_hostile: $(B)/tests/unit/sftp_server.o

# a link with delay, limits and accidents, for tests and measurements
$(B)/linkproxy: $(B)/tests/tools/linkproxy.o
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^

$(B)/tests/t_%: $(B)/tests/unit/t_%.o $(B)/tests/unit/suite.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CHECK_LIBS) $(LIBS)

$(B)/fuzz/replay_%: $(B)/tests/fuzz/f_%.o $(B)/tests/fuzz/replay.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

# one module's unit tests: make t_base SAN=address,undefined
t_%: $(B)/tests/t_%
	$(B)/tests/$@

check: check-deps ## everything: installs packages, then lint, unit tests, corpora under sanitizers, integration
	$(Q)$(MAKE) --no-print-directory check-all

check-all: lint
	$(Q)$(MAKE) --no-print-directory -j2 all $(B)/linkproxy
	$(Q)$(MAKE) --no-print-directory -j2 SAN=address,undefined build-tests
	$(Q)$(MAKE) --no-print-directory -j2 SAN=thread build-threaded
	$(Q)$(MAKE) --no-print-directory docs-check
	$(Q)tests/with-servers tests/run $(foreach i,$(INTEGRATION),$(basename $(notdir $(i)))='HOLDFAST=$(CURDIR)/$(B)/holdfast $(i)') \
		$(foreach t,$(UNIT),$(t)=build/address-undefined/tests/$(t)) \
		$(foreach t,$(THREADED),$(t)-threads='$(if $(filter $(t),$(ON_THREADS)),CK_INCLUDE_TAGS=threads )build/thread/tests/$(t)') \
		$(foreach f,$(FUZZ),$(f)-corpus='build/address-undefined/fuzz/replay_$(f:f_%=%) tests/fuzz/corpus/$(f:f_%=%)')

check-fleet: check-deps ## S3 on BlueStore with three storage daemons, one of which is stopped (minutes, some GB of disk)
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)STORE=bluestore OSDS=3 COPIES=2 tests/with-servers tests/run $(foreach i,$(FLEET),$(basename $(notdir $(i)))='HOLDFAST=$(CURDIR)/$(B)/holdfast $(i)')

build-tests: $(UNIT:%=$(B)/tests/%) $(FUZZ:f_%=$(B)/fuzz/replay_%)
build-threaded: $(THREADED:%=$(B)/tests/%)

unit: $(UNIT:%=$(B)/tests/%) ## unit tests of this variant
	$(Q)tests/run $(foreach t,$(UNIT),$(t)=$(B)/tests/$(t))

integration: all $(B)/linkproxy ## integration tests: real programs, real files
	$(Q)tests/run $(foreach i,$(INTEGRATION),$(basename $(notdir $(i)))='HOLDFAST=$(CURDIR)/$(B)/holdfast $(i)')

lint: ## include layers, sizes, links of the documents, shell scripts
	$(Q)tests/tools/check-layers.py
	$(Q)tests/tools/check-size.py
	$(Q)tests/tools/check-links.py
	$(Q)shellcheck -S warning tests/run tests/with-servers $(wildcard tests/tools/*.sh tests/integration/*.sh tests/fleet/*.sh tests/lib/*.sh tests/bench/*.sh examples/*.sh)

FUZZ_SECONDS ?= 600
fuzz: ## fuzz every decoder for FUZZ_SECONDS (needs clang and libclang-rt-14-dev); new inputs join the corpora
	$(Q)$(MAKE) --no-print-directory -j2 CC=clang SAN=address,undefined,fuzzer-no-link build-fuzzers
	$(Q)for f in $(FUZZ:f_%=%); do mkdir -p tests/fuzz/corpus/$$f; build/address-undefined-fuzzer-no-link-clang/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) \
		-rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=1 tests/fuzz/corpus/$$f 2>&1 | tail -8 || exit 1; done
build-fuzzers: $(FUZZ:f_%=$(B)/fuzz/%)
$(B)/fuzz/%: $(B)/tests/fuzz/f_%.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

bench: deps ## compare with restic and borg, and measure what grows: SCALE=0.05 for a look, REPS, CORPORA, LIMITS
	$(Q)tests/tools/install-packages.sh $(BENCH_DEPS)
	$(Q)$(MAKE) --no-print-directory all $(B)/bench/index
	$(Q)HOLDFAST=$(CURDIR)/$(B)/holdfast INDEX=$(CURDIR)/$(B)/bench/index tests/bench/bench.py

bench-growth: $(B)/holdfast $(B)/bench/index ## measure how time and memory grow (docs/growth.md)
	$(Q)tests/tools/install-packages.sh $(BENCH_DEPS)
	$(Q)HOLDFAST=$(CURDIR)/$(B)/holdfast INDEX=$(CURDIR)/$(B)/bench/index tests/bench/growth.sh
$(B)/bench/index: $(B)/tests/bench/index.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

bench-links: $(B)/bench/store $(B)/linkproxy ## distant sites at 0, 10 and 80 ms, beside rclone and restic
	$(Q)tests/tools/install-packages.sh $(BENCH_DEPS)
	$(Q)B=$(B) tests/bench/links.sh 0 10 80
$(B)/bench/store: $(B)/tests/bench/store.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# --- documents ---
docs: $(B)/holdfast $(AGENTS) ## write manual pages and completion scripts below build/
	$(Q)mkdir -p $(B)/man $(B)/completion
	$(Q)$< help --pages | while read -r page command; do $< help --man $$command > $(B)/man/$$page.1 || exit 1; done
	$(Q)cp docs/man/*.1 $(B)/man
	$(Q)for shell in bash fish; do $< completion $$shell > $(B)/completion/holdfast.$$shell || exit 1; done

docs-check: docs ## judge them
	$(Q)tests/tools/check-docs.sh $(B)/man $(B)/completion $(AGENTS)

PREFIX ?= /usr/local
install: all docs ## install below PREFIX (DESTDIR is obeyed)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/holdfast $(AGENTS) $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(B)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 $(B)/completion/holdfast.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfast
	install -D -m 644 $(B)/completion/holdfast.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/holdfast.fish
	install -D -m 644 plans/holdfast-plan.schema.json $(DESTDIR)$(PREFIX)/share/holdfast/holdfast-plan.schema.json

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

clean: ## remove what was built
	rm -rf build

-include $(wildcard $(B)/src/*/*.d $(B)/agents/*.d $(B)/tests/*/*.d)

FORCE:
.PHONY: all deps check-deps demo check check-all check-fleet build-tests build-threaded unit integration lint fuzz build-fuzzers bench bench-growth bench-links docs docs-check install help clean FORCE
.PRECIOUS: $(B)/%.o
