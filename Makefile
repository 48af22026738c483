# Portcullis. `make demo` tells the story, `make test` runs everything that CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
CARGO ?= cargo
# Where cargo builds: some people have one directory for everything.
BUILT := $(or $(CARGO_TARGET_DIR),target)
TARGETS := wasm32-unknown-unknown
PURE := -p portcullis-action -p portcullis-core -p portcullis-egress -p portcullis-store

# What `make release` works with: the host's triple, its own target directories, and the tool that reads profiles.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
PROFDATA = $(shell rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata
PROFILED := $(abspath $(BUILT)/profiled)
SHIPPED := --bin portcullis --bin portcullis-bench

.PHONY: help demo build release test bench check fetch fmt lint doc deny vendors clean targets

help:
	@echo "make demo   build, then tell the whole story on this machine (no account, no internet)"
	@echo "make test   everything that CI runs: format, lints, documents, tests, licences"
	@echo "make check  the fast loop: format, lints and tests of the crates without wasmtime"
	@echo "make build  the product: target/release/portcullis"
	@echo "make release   the product to ship: built twice, the second time for what the first one did"
	@echo "make vendors DESCRIPTIONS=dir PRISM=dir   the catalog before the vendors' own API descriptions"
	@echo "make bench  what the sandbox and the checks cost, against the same call without them (docs/performance.md)"
	@echo "make fmt    format the code"
	@echo "make clean  remove what was built"

# The guests' target; automatic installs are off on some machines.
targets:
	@command -v rustup >/dev/null 2>&1 || { echo "rustup is needed: https://rustup.rs"; exit 1; }
	@for target in $(TARGETS); do \
	  rustup target list --installed | grep -qx $$target || rustup target add $$target; \
	done

# Always the whole workspace: one set of features, so that nothing is built twice.
build: targets
	$(CARGO) build --release --workspace --bins

# Profile-guided: the first binary counts what runs under the benchmark's load, and the second is laid out for it.
# Directories of its own, because other flags are another build of everything.
release: targets
	@test -x "$(PROFDATA)" || rustup component add llvm-tools
	rm -rf $(PROFILED)/counts $(PROFILED)/build
	RUSTFLAGS="-C profile-generate=$(PROFILED)/counts" \
	  $(CARGO) build --release --workspace $(SHIPPED) --target $(HOST) --target-dir $(PROFILED)/training
	$(PROFILED)/training/$(HOST)/release/portcullis-bench --only throughput,drain --seconds 3 --rounds 1 \
	  --out $(PROFILED)/training.json
	$(PROFDATA) merge -o $(PROFILED)/profile $(PROFILED)/counts/*.profraw
	RUSTFLAGS="-C profile-use=$(PROFILED)/profile" \
	  $(CARGO) build --release --workspace $(SHIPPED) --target $(HOST) --target-dir $(PROFILED)/build
	cp $(PROFILED)/build/$(HOST)/release/portcullis $(PROFILED)/build/$(HOST)/release/portcullis-bench $(PROFILED)/
	@echo "built $(PROFILED)/portcullis; $(PROFILED)/portcullis-bench measures it"

demo: build
	@$(BUILT)/release/portcullis demo

check: targets
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PURE) --all-targets -- -D warnings
	$(CARGO) test $(PURE)

# Every crate of the lock file, other systems' too: the checks of the whole graph run offline.
fetch:
	$(CARGO) fetch --locked --quiet

lint: targets
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: targets
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny:
	@if command -v cargo-deny >/dev/null 2>&1; then \
	  $(CARGO) deny --offline check bans licenses sources; \
	else \
	  echo "cargo-deny is not installed: licences and sources were not checked"; \
	fi

# Not `build`: product and tests together resolve one set of features, and nothing is built twice.
test: fetch lint doc deny
	$(CARGO) build --release --workspace --bins --tests
	$(CARGO) test --release --workspace 2>&1 | tee $(BUILT)/test-output.txt
	@awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "%d passed, %d failed\n", passed, failed; exit (failed > 0 || passed == 0) }' $(BUILT)/test-output.txt

# Not part of `test`: descriptions and mock server come from outside; see tests/vendors/README.md.
vendors: targets
	@test -n "$(DESCRIPTIONS)" -a -n "$(PRISM)" || \
	  { echo "make vendors DESCRIPTIONS=dir PRISM=dir [ONLY=id,id]"; exit 2; }
	$(CARGO) build --release --workspace --bins
	$(BUILT)/release/vendor-judge --descriptions "$(DESCRIPTIONS)" --prism "$(PRISM)" \
	  $(if $(ONLY),--only $(ONLY))

# The comparison, then the parts with criterion; BENCH goes to the former.
bench: targets
	$(CARGO) build --release --workspace --bins --tests --bench micro
	$(BUILT)/release/portcullis-bench $(BENCH)
	$(CARGO) bench --workspace --bench micro

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
