# SPDX-License-Identifier: GPL-2.0-or-later
# Everything from a fresh Debian 12 or 13: `make demo` and `make test` install what they
# need, as root or with sudo, into the system (apt) and into .venv (pip).

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# What a run needs (it fetches its QEMU), and what the tests need on top.
RUN_PACKAGES := fio gcc libc6-dev python3-venv python3-dev
TEST_PACKAGES := qemu-system-x86 mmdebstrap gpg gpg-agent qemu-utils libnbd-bin nbdkit blktrace e2fsprogs clang clang-format libclang-rt-dev util-linux strace file cpio xz-utils bzip2 lowdown groff-base sqlite3 xfsprogs btrfs-progs
# What `make paper` needs on top: the Debian guest, and what we are compared with.
PAPER_PACKAGES := mmdebstrap e2fsprogs nbdkit
# What `make test-all` needs on top: a browser for the report (124 MB to load, 412 MB on disk), sfdisk, and what
# runs a container image without a daemon.
TEST_ALL_PACKAGES := chromium fdisk umoci bubblewrap
AGENT_DIR := src/freezingtime/clock/agent
AGENT := $(sort $(shell find $(AGENT_DIR) -name "*.[ch]"))
CFLAGS_STRICT := -std=c11 -O2 -fPIC -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror

# One file of tests at a time on each core: what a file's tests share is made once.
# In the order of tests/conftest.py, long files first: xdist would begin with those of most tests.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

# The oldest C library that the wheel's agent is for, whatever this machine has: ziglang has them all.
GLIBC := 2.17
MANYLINUX := manylinux_$(subst .,_,$(GLIBC))_x86_64
WHEEL_TOOLS := auditwheel build ziglang

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo check test test-all test-qemus test-kvm test-installs same-figures cases schema docs gallery man bench paper wheel container lint format clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# apt-get runs only if something is missing: no root is needed on a machine that has it all.
.PHONY: packages-run packages-test packages-test-all packages-paper packages-container
packages-run: PACKAGES = $(RUN_PACKAGES)
packages-test: PACKAGES = $(RUN_PACKAGES) $(TEST_PACKAGES)
packages-test-all: PACKAGES = $(RUN_PACKAGES) $(TEST_PACKAGES) $(TEST_ALL_PACKAGES)
packages-paper: PACKAGES = $(RUN_PACKAGES) $(PAPER_PACKAGES)
packages-container: PACKAGES = mmdebstrap python3-venv
packages-run packages-test packages-test-all packages-paper packages-container:
	@missing="$$(for p in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)"; \
	if [ -n "$$missing" ]; then \
	    echo "installing" $$missing; \
	    $(SUDO) apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(VENV)/run.stamp: pyproject.toml setup.py $(AGENT) | packages-run
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp | packages-test
	@$(BIN)/pip install -q -e '.[dev,docs]'
	@touch $@

$(VENV)/wheel.stamp: Makefile
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q $(WHEEL_TOOLS)
	@touch $@

setup: packages-run $(VENV)/run.stamp ## what a run needs, and the freezingtime command in .venv/bin
setup-test: setup packages-test $(VENV)/test.stamp ## what the tests need

demo: setup ## a real guest on four devices that are not here, over a fast and a slow medium
	@$(BIN)/python demo/demo.py

check: setup-test lint ## before each commit: lint, and the tests without guests and simulations
	$(BIN)/python -m pytest -q -m 'not slow and not guest and not simulation' $(PARALLEL)

test: setup-test lint ## all but the slow tests: under 15 minutes on 2 cores
	$(BIN)/python -m pytest -m 'not slow' $(PARALLEL)

test-all: packages-test-all setup-test lint ## every test
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered

test-kvm: setup-test ## the KVM clock in an emulated machine that has KVM: minutes
	REQUIRE_TOOLS=1 $(BIN)/python -m pytest -v -n 0 tests/kvm

test-qemus: setup-test ## many of the tests with each QEMU of Debian's, and a table; SUITES="trixie sid"
	$(BIN)/python -m tests.support.qemulib $(SUITES)

same-figures: setup-test ## the demonstration in bare Debian 12 and 13, and without apt and dpkg: the same figures
	$(BIN)/python -m tests.install.same_figures

test-installs: packages-test-all setup-test ## the wheel, the source archive and the container image where nothing else is
	REQUIRE_TOOLS=1 $(BIN)/python -m pytest -v -s tests/install

cases: setup-test ## small files that were read wrongly once: each gives what it must
	$(BIN)/python -m pytest -v tests/trace/test_cases.py

schema: setup ## write anew what editors check devices and plans of sweeps by, when a key has changed
	$(BIN)/freezingtime devices --schema > src/freezingtime/device/catalogue/device.schema.json
	$(BIN)/freezingtime sweep --schema > src/freezingtime/explore/sweep/plan/sweep.schema.json

docs: setup-test ## the documentation site, in build/site; broken links are errors
	$(BIN)/python -m website
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open $(CURDIR)/build/site/index.html"

gallery: packages-test-all setup-test ## the pictures of the gallery anew, in docs/images/gallery
	$(BIN)/python -m website.gallery

man: setup-test ## manual pages of the commands, in build/man
	$(BIN)/python -m website.man_pages

bench: setup ## what exactness costs, how fast a run starts, what a snapshot costs, the record, the device models, sweeps, power cuts; BEFORE=COMMIT: beside an older version
	$(BIN)/python bench/cost.py
	$(BIN)/python bench/duration.py
	$(if $(BEFORE),$(BIN)/python bench/before.py $(BEFORE))
	$(BIN)/python bench/start.py
	$(BIN)/python bench/snapshot.py
	$(BIN)/python bench/record.py
	$(BIN)/python bench/models.py
	$(BIN)/python bench/sweep.py
	$(BIN)/python -m bench.crash

# pip takes the first wheel on Linux on x86-64, and the other one elsewhere: there no guest can run.
wheel: $(VENV)/wheel.stamp ## the source archive, and the wheels with the agent and without, in dist/
	rm -rf dist
	CC="$(abspath $(BIN))/python -m ziglang cc -target x86_64-linux-gnu.$(GLIBC)" \
	    $(BIN)/python -m build -C--build-option=--plat-name=$(MANYLINUX)
	FREEZINGTIME_AGENT=none $(BIN)/pip wheel -q --no-deps -w dist dist/freezingtime-*.tar.gz
	$(BIN)/auditwheel show dist/*-$(MANYLINUX).whl
	ls -l dist

container: packages-container wheel ## a container image of the wheel, as an OCI archive in dist/, without a registry
	$(BIN)/python -m container

SCALE ?= 1
paper: setup packages-paper ## the paper's experiments beside its figures; SCALE=1
	@$(BIN)/python -m experiments.paper --scale $(SCALE)

lint: setup-test ## style, types, the dependency rule, the agent under two compilers
	$(BIN)/ruff check src tests bench demo examples experiments website container setup.py
	$(BIN)/ruff format --check src tests bench demo examples experiments website container setup.py
	$(BIN)/mypy
	$(BIN)/mypy bench/*.py demo/*.py
	$(BIN)/mypy -p examples
	$(BIN)/mypy -p experiments
	$(BIN)/mypy -p website
	$(BIN)/mypy -p container
	$(BIN)/lint-imports --no-logo
	for cc in gcc clang; do $$cc $(CFLAGS_STRICT) -I$(AGENT_DIR) -shared -o /dev/null $(filter %.c,$(AGENT)) -ldl -lpthread || exit 1; done
	clang-format --dry-run -Werror $(AGENT)

format: setup-test ## put the code into its canonical form
	$(BIN)/ruff check --fix src tests bench demo examples experiments website container setup.py
	$(BIN)/ruff format src tests bench demo examples experiments website container setup.py
	clang-format -i $(AGENT)

clean: ## remove what the build made (not the cache)
	rm -rf $(VENV) build dist src/*.egg-info $(AGENT_DIR)/*.so
