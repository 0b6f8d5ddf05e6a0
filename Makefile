# The front door. `make help` lists what there is.
BUILD  ?= build
PREFIX ?= /usr/local
# The Python that has pytest: the system's, once `make deps` has run.
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do $$p -c 'import pytest' 2>/dev/null && echo $$p && break; done)

.PHONY: all build deps help demo check unit scenario torture lint format sanitize valgrind conformance \
        bench fuzz coverage reproducible sbom install clean

all: build

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

deps: ## installs the Debian packages that are missing (as root or with sudo)
	@tools/install-deps

build: deps ## the program: build/offpeak
	@tools/build $(BUILD)

demo: build ## a pipeline end to end against the emulator: no key, no money
	@tools/demo $(BUILD)/offpeak

check: build ## every test
	@tools/check $(BUILD) $(PYTHON)

unit: build ## the unit tests alone
	@tools/check unit $(BUILD) $(PYTHON)

scenario: build ## the scenario and crash tests alone
	@tools/check scenario $(BUILD) $(PYTHON)

torture: build ## the fault program at length (SCHEDULES= SEED= MINUTES= THIN= RUNS= MUTANTS=1)
	@tools/torture $(BUILD) $(PYTHON)

lint: deps ## gcc and clang with -Werror, layers, banned calls, layout, documentation
	@tools/lint

format: ## lays out the sources
	@clang-format -i $$(git ls-files '*.c' '*.h' '*.cc')

sanitize: deps ## the tests under ASan and UBSan
	@tools/sanitize $(PYTHON)

valgrind: build ## the unit tests under valgrind
	@tools/valgrind $(BUILD)

conformance: build ## the official SDKs against the emulator, other DynamoDB servers against us (installs them below build/)
	@OFFPEAK=$(abspath $(BUILD)/offpeak) tests/conformance/run.sh
	@OFFPEAK=$(abspath $(BUILD)/offpeak) tests/conformance/dynamodb.sh
	@OFFPEAK=$(abspath $(BUILD)/offpeak) tests/conformance/fuzzy.sh

SECONDS ?= 60
fuzz: deps ## every fuzz target for SECONDS (60) each; TARGETS="json csv" for some of them
	@tools/fuzz $(SECONDS) $(TARGETS)

coverage: deps ## which lines and branches the tests reach, by room; ROOM=core lists what they miss
	@tools/coverage $(PYTHON) $(ROOM)

bench: build ## speed and memory against a limit program and plain Python, as ratios
	@bench/run $(BUILD) $(PYTHON)

reproducible: deps ## builds what is committed twice and compares the programs
	@tools/reproducible

sbom: build ## the Debian packages the program is made of: build/offpeak.cdx.json
	@tools/sbom $(BUILD)/offpeak $(BUILD)/offpeak.cdx.json

install: build ## to PREFIX (/usr/local), DESTDIR is obeyed
	@meson configure $(BUILD) --prefix $(PREFIX) && tools/build $(BUILD) && \
	  meson install -C $(BUILD) --no-rebuild --quiet

clean: ## removes what was built
	@rm -rf $(BUILD) build-lint-gcc build-lint-clang build-sanitize build-fuzz build-coverage
