# Every target is one line over the compiler, setuptools, pytest or a tool. `make help` lists them.
PYTHON ?= python3
CC ?= cc
WARN = -std=c17 -Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Werror
OPT ?= $(if $(DEBUG),-O1 -DPYJET_DEBUG=1,-O2)
VARIANT = $(if $(SANITIZE),san-$(subst $(comma),-,$(SANITIZE)),$(if $(DEBUG),debug,release))
comma := ,
DEBUG_INFO ?= -g
TEST_OPT ?=  # of the test programs' own files, after OPT: -O0 halves the time that they take to compile
CFLAGS_ALL = $(WARN) $(OPT) $(DEBUG_INFO) -fPIC -fvisibility=hidden -D_GNU_SOURCE -Icsrc -MMD -MP \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) $(CFLAGS)
LDLIBS_ALL = $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -lz -lpthread -lm $(LDLIBS)
B = build/$(VARIANT)

# rooms in floor order; ROOM_FLOOR_x is the floor of room x
ROOMS := $(shell awk '!/^\#/ { for (i = 2; i <= NF; i++) if ($$i != "python") print $$i }' csrc/FLOORS)
rooms_upto = $(shell awk -v r=$(1) '!/^\#/ { for (i = 2; i <= NF; i++) f[$$i] = $$1 } END { for (x in f) if (x == r || f[x] < f[r]) print x }' csrc/FLOORS)
objects = $(patsubst csrc/%.c,$(B)/%.o,$(foreach r,$(1),$(wildcard csrc/$(r)/*.c)))

.PHONY: help lib floors clean
help:  ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

lib: $(B)/libpyjet.a  ## the engine as a static library (DEBUG=1, SANITIZE=address,undefined)

$(B)/libpyjet.a: $(call objects,$(ROOMS))
	@rm -f $@; ar rcs $@ $^

$(B)/%.o: csrc/%.c
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -c $< -o $@

# One program a room (or several: test_btree_redo is of btree), linked with that room and the floors below it only:
# `make test-btree ARGS=split`
.SECONDEXPANSION:
$(B)/test_%: tests/c/test_%.c $(wildcard tests/c/*.h) $$(call objects,$$(call rooms_upto,$$(firstword $$(subst _, ,$$*))))
	$(CC) $(CFLAGS_ALL) $(TEST_OPT) -Itests/c $< $(filter %.o,$^) -o $@ $(LDLIBS_ALL)

test-%: $$(B)/test_$$*  ## C tests of one room: make test-page
	$(B)/test_$* $(ARGS)

floors:  ## no room includes upward
	$(PYTHON) tools/check_floors.py

clean:  ## remove what was built
	rm -rf build



# A library with one fault built in (csrc/base/broken.h): the objects of `lib`, but for the files that know the fault; and what the
# fault walk wants of a library (see `walk`)
KNOWS = $(shell grep -lw PYJET_BREAK_$(BREAK) csrc/*/*.c)
BROKEN = $(B)/libpyjet-$(BREAK).so
.PHONY: broken
broken: $(BROKEN)  ## an engine that skips one step, for tests/crash/test_broken.py: BREAK=FSYNC|RETRY|WAL|NEXT_NAME|..., see broken.h

$(BROKEN): $(call objects,$(ROOMS))
	$(CC) $(CFLAGS_ALL) -DPYJET_BREAK_$(BREAK)=1 -MF /dev/null -shared -o $@ $(KNOWS) \
	    $(filter-out $(patsubst csrc/%.c,$(B)/%.o,$(KNOWS)),$^) tests/c/alloc_faults.c $(wraps) $(LDLIBS_ALL)

# Fuzz targets: tests/fuzz/fuzz_<x>.c, over libFuzzer (clang), AddressSanitizer and UBSan; the same drivers without a fuzzer, for replays
# of inputs by any compiler: `make fuzz-replay`.
FUZZ_CC ?= $(firstword $(foreach c,clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14,$(shell command -v $(c))))
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS = $(CFLAGS_ALL) -Itests/fuzz -DPYJET_DEBUG=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_OBJECTS = $(patsubst csrc/%.c,build/fuzz/%.o,$(foreach r,$(ROOMS),$(wildcard csrc/$(r)/*.c)))
build/fuzz/%.o: csrc/%.c
	@mkdir -p $(dir $@)
	$(FUZZ_CC) $(FUZZ_FLAGS) -O2 -fsanitize=fuzzer-no-link -c $< -o $@
build/fuzz/libpyjet.a: $(FUZZ_OBJECTS)
	@rm -f $@; ar rcs $@ $^
FUZZ_SHARED = fuzz db_world redo_world
build/fuzz/shared/%.o: tests/fuzz/%.c
	@mkdir -p $(dir $@)
	$(FUZZ_CC) $(FUZZ_FLAGS) -O1 -c $< -o $@
build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_SHARED:%=build/fuzz/shared/%.o) build/fuzz/libpyjet.a
	$(FUZZ_CC) $(FUZZ_FLAGS) -O1 -fsanitize=fuzzer $< $(filter %.o %.a,$^) -o $@ -lz -lpthread -lm
$(B)/fuzz/%.o: tests/fuzz/%.c
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) $(TEST_OPT) -Itests/fuzz -c $< -o $@
$(B)/replay_%: tests/fuzz/fuzz_%.c $(patsubst %,$(B)/fuzz/%.o,$(FUZZ_SHARED) replay) $(B)/libpyjet.a
	$(CC) $(CFLAGS_ALL) $(TEST_OPT) -Itests/fuzz $< $(filter %.o %.a,$^) -o $@ $(LDLIBS_ALL)
.SECONDARY: $(patsubst %,$(B)/fuzz/%.o,$(FUZZ_SHARED) replay) $(FUZZ_SHARED:%=build/fuzz/shared/%.o)

.PHONY: fuzz fuzz-replay fuzz-cc
fuzz-cc: ## is there a clang whose libraries of libFuzzer and sanitizers are there too (libclang-rt-*-dev is only recommended by its package)
	@echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n); int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return 0; }' | \
	    $(or $(FUZZ_CC),false) -x c - -fsanitize=fuzzer,address,undefined -o /dev/null 2>/dev/null || \
	    { echo "make fuzz needs clang with libFuzzer: apt-get install -o APT::Install-Recommends=1 clang" >&2; exit 1; }
fuzz: fuzz-cc $(FUZZ_TARGETS:%=build/fuzz/fuzz_%)  ## the fuzz targets; python -m tests.fuzz.run runs them
fuzz-replay: $(FUZZ_TARGETS:%=$(B)/replay_%)  ## the same drivers, to run given inputs (SANITIZE=address,undefined)

# A library whose allocations and transfers fail on order, for tests/crash/faultwalk.py; with SANITIZE=address too
wraps = $(foreach f,malloc calloc realloc strdup posix_memalign aligned_alloc asprintf free os_map pread pwritev,-Wl$(comma)--wrap=$(f))
.PHONY: walk
walk: $(B)/libpyjet-walk.so  ## the library of the fault walk (SANITIZE=address)

$(B)/libpyjet-walk.so: tests/c/alloc_faults.c $(call objects,$(ROOMS))
	$(CC) $(CFLAGS_ALL) -MF /dev/null -shared -o $@ $^ $(wraps) $(LDLIBS_ALL)

# Reads whole databases for the judges in tests/ (tests/reading.py); it stands beside any of the libraries above
.PHONY: reader
reader: build/read_all.so  ## reads everything in a database in one call, for judges of many

build/read_all.so: tests/c/read_all.c csrc/include/esent.h csrc/include/pyjet.h
	@mkdir -p build
	$(CC) $(CFLAGS_ALL) -MF /dev/null -shared -o $@ $<

.PHONY: docs build test test-all bench
build:  ## the extension, in place
	$(PYTHON) setup.py -q build_ext --inplace

test:  ## the default tests
	$(PYTHON) -m pytest

test-all:  ## the long ones too
	$(PYTHON) -m pytest -m "slow or not slow"

bench:  ## benchmarks against peers, one table
	$(PYTHON) bench/run.py --quick

docs:  ## HTML in docs/_build
	$(PYTHON) -m sphinx -W -q -b html docs docs/_build

-include $(shell find build -name "*.d" 2>/dev/null)
