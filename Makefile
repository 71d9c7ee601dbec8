# What to type. Each target installs what it is missing, and says nothing when nothing is.
#
# mold and clang are needed because .cargo/config.toml links with them, cmake because zlib-ng is built from
# source. Arguments go into ARGS: make run ARGS="--upstream http://localhost:11434/v1"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

# command:package, where the two differ in name.
BUILD_TOOLS := cmake clang mold pkg-config cc:gcc c++:g++
CLIENTS := tests/clients
VENV := $(CLIENTS)/.venv
NODE_MODULES := $(CLIENTS)/node_modules

.PHONY: help
help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

.PHONY: run
run: build-tools ## Build, and serve a demo: prints a URL, a key and what to paste
	@cargo build --release --package palisade
	@exec "$(CARGO_TARGET_DIR)/release/palisade" demo $(ARGS)

.PHONY: test
test: build-tools test-tools $(VENV)/.complete $(NODE_MODULES)/.complete ## Every test: the workspace's, then real clients against the binary
	@cargo test --workspace
	@cargo build --quiet --package palisade
	@cd $(CLIENTS) && PALISADE_BINARY="$(CARGO_TARGET_DIR)/debug/palisade" .venv/bin/python -m pytest

.PHONY: lint
lint: build-tools ## Format and lints, warnings are errors
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- --deny warnings

.PHONY: bench
bench: build-tools bench-tools ## Measurements (ARGS=scan: the scanner); wants a quiet machine, writes benches/record
	@cargo build --release --package palisade --package palisade-benches $(BENCH_FEATURES)
	@"$(CARGO_TARGET_DIR)/release/bench" $(ARGS)

# Hyperscan, to stand beside, is there for x86-64 alone.
ifeq ($(shell uname -m),x86_64)
BENCH_FEATURES := --features palisade-benches/hyperscan
endif
.PHONY: bench-tools
bench-tools:
	@if [ -n "$(BENCH_FEATURES)" ] && [ ! -e /usr/include/hs/hs.h ]; then $(call apt,libhyperscan-dev); fi

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: build-tools ## Every parser of foreign bytes against bytes nobody thought of, FUZZ_SECONDS each
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz@0.13.2
	@cd tests/fuzz && for target in $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs))); do \
	  mkdir -p "corpus/$$target"; echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  cargo fuzz run --sanitizer none "$$target" "corpus/$$target" "cases/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -timeout=20 -print_final_stats=1; \
	done

.PHONY: build-tools
build-tools:
	@$(call install,$(BUILD_TOOLS))
	@command -v cargo >/dev/null || { \
	  echo "Rust is missing: install it from https://rustup.rs, and run this in a new shell" >&2; exit 1; }

# The tests speak HTTP/2 and TLS to the binary with curl, and keep a store in a PostgreSQL server of their own: in
# Debian its programs are not in the path, and whoever is root has another user run it.
.PHONY: test-tools
test-tools:
	@$(call install,curl)
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(call apt,postgresql); }

# Rebuilt when the pinned versions change.
$(VENV)/.complete: $(CLIENTS)/requirements.txt
	@$(call install,python3)
	@python3 -c 'import ensurepip' 2>/dev/null || { $(call apt,python3-venv); }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "the client tests need Python 3.11 or later" >&2; exit 1; }
	@rm -rf $(VENV)
	@python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-input --requirement $<
	@touch $@

$(NODE_MODULES)/.complete: $(CLIENTS)/package-lock.json
	@$(call install,node:nodejs npm)
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || { \
	  echo "the client tests need Node 18.15 or later" >&2; exit 1; }
	@cd $(CLIENTS) && npm ci --silent --no-audit --no-fund --no-update-notifier
	@touch $@

# Installs those of the commands $(1) that are not there.
define install
missing=""; \
for tool in $(1); do \
  command -v "$${tool%%:*}" >/dev/null || missing+=" $${tool##*:}"; \
done; \
if [ -n "$$missing" ]; then $(call apt,$$missing); fi
endef

# Installs the packages $(1), or says what to install.
define apt
packages=$$(echo $(1)); \
if ! command -v apt-get >/dev/null; then \
  echo "missing: $$packages; there is no apt here, so install them your system's way" >&2; exit 1; \
elif [ "$$(id -u)" = 0 ]; then as_root="env"; \
elif command -v sudo >/dev/null; then as_root="sudo env"; \
else echo "missing: $$packages; install them as root: apt-get install $$packages" >&2; exit 1; fi; \
echo "installing $$packages"; \
$$as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null && \
$$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages \
  </dev/null >/dev/null
endef
