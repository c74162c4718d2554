# holdfast: one non-recursive makefile. `make help` lists the targets.
CC ?= gcc
VARIANT := $(if $(SAN),$(subst $(shell printf ','),-,$(SAN)),$(if $(DEBUG),debug,release))$(if $(filter clang,$(CC)),-clang)
B := build/$(VARIANT)
Q := $(if $(V),,@)

PKGS := libarchive libzstd libcrypto jansson libfyaml sqlite3 libacl
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wundef -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings $(if $(CI),-Werror)
OPT := $(if $(SAN),-O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all,$(if $(DEBUG),-O0 -g,-O2 -g -D_FORTIFY_SOURCE=3 -fstack-protector-strong))
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -fPIE -pthread $(OPT) $(WARN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
LDFLAGS_ALL := -pie -pthread $(if $(SAN),-fsanitize=$(SAN),-Wl,-z,relro,-z,now) $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

LIB_SRC := $(sort $(wildcard src/*/*.c))
LIB_SRC := $(filter-out src/cli/main.c,$(LIB_SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
LIB := $(B)/libholdfast.a
UNIT_SRC := $(sort $(wildcard tests/unit/t_*.c))
UNIT := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/%)

all: $(B)/holdfast ## build the program

$(B)/flags: FORCE
	@mkdir -p $(B); echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' > $@

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC $<")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	$(Q)rm -f $@; $(AR) rcs $@ $^

$(B)/holdfast: $(B)/src/cli/main.o $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/tests/t_store: $(B)/tests/unit/store_conformance.o
$(addprefix $(B)/tests/,t_restore t_check t_session t_replicate): $(B)/tests/unit/repo_fixture.o

$(B)/tests/t_%: $(B)/tests/unit/t_%.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(shell pkg-config --libs check) $(LIBS)

-include $(wildcard $(B)/src/*/*.d $(B)/tests/unit/*.d)

# one module's unit tests: make t_base SAN=address,undefined
t_%: $(B)/tests/t_%
	$(B)/tests/$@

docs: $(B)/holdfast ## write manual pages and completion scripts below build/
	$(Q)mkdir -p $(B)/man $(B)/completion
	$(Q)$< help --pages | while read -r page command; do $< help --man $$command > $(B)/man/$$page.1 || exit 1; done
	$(Q)for shell in bash fish; do $< completion $$shell > $(B)/completion/holdfast.$$shell || exit 1; done

docs-check: docs ## judge them
	$(Q)tests/tools/check-docs.sh $(B)/man $(B)/completion

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

clean: ## remove what was built
	rm -rf build

FORCE:
.PHONY: all docs docs-check help clean FORCE
.SECONDARY:
