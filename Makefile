# Portcullis. `make demo` shows the product, `make test` runs everything that CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
CARGO ?= cargo
# Where cargo builds; it can be one directory for several projects.
BUILT := $(or $(CARGO_TARGET_DIR),target)
# The handler, and a guest of the tests whose standard library uses WASI.
TARGETS := wasm32-unknown-unknown wasm32-wasip2
PURE := -p portcullis-action -p portcullis-admission -p portcullis-core -p portcullis-egress -p portcullis-store

# What `make release` works with: the host's triple, its own target directories, and the tool that reads profiles.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
PROFDATA = $(shell rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata
PROFILED := $(abspath $(BUILT)/profiled)
SHIPPED := --bin portcullis --bin portcullis-bench

.PHONY: help demo cluster build release test outside prove clients modules browser fuzz hostile bench check fetch fmt lint doc docs deny vendors clean targets

help:
	@echo "make demo   build, then show the whole product on this machine (no account, no internet)"
	@echo "make cluster   build, then run three nodes on a PostgreSQL of its own until Ctrl-C (docs/scale.md)"
	@echo "make test   everything that CI runs: format, lints, documents, tests, licences"
	@echo "make prove  the large counts: clients and generated requests, damaged files, kills, power cuts, killed runs, a"
	@echo "            dead vendor, a million runs and ledger records, mutations, hostile inputs"
	@echo "make check  the fast loop: format, lints and tests of the crates without wasmtime"
	@echo "make build  the product: target/release/portcullis"
	@echo "make release   the product to ship: built twice, the second build optimized by a profile of the first"
	@echo "make vendors DESCRIPTIONS=dir PRISM=dir   check the catalog against the vendors' own API descriptions"
	@echo "make bench  what the sandbox and the checks cost, against the same call without them (docs/performance.md)"
	@echo "make docs   write the documents that are made from the code: API document, schema, tables"
	@echo "make fmt    format the code"
	@echo "make clean  remove what was built"

# The guests' target; automatic installation is disabled on some machines.
targets:
	@command -v rustup >/dev/null 2>&1 || { echo "rustup is needed: https://rustup.rs"; exit 1; }
	@for target in $(TARGETS); do \
	  rustup target list --installed | grep -qx $$target || rustup target add $$target; \
	done

# Always the whole workspace: one set of features, so that nothing is built twice.
build: targets
	$(CARGO) build --release --workspace --bins

# Profile-guided: the first binary counts what runs under the benchmark's load, and the second is optimized for it.
# Separate target directories, because other flags require a full rebuild.
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
	@# Half of the file is debug information: it is shipped beside the program, which names it for debuggers.
	cd $(PROFILED) && objcopy --only-keep-debug portcullis portcullis.debug && strip --strip-unneeded portcullis \
	  && objcopy --add-gnu-debuglink=portcullis.debug portcullis
	@echo "built $(PROFILED)/portcullis, symbols in $(PROFILED)/portcullis.debug; $(PROFILED)/portcullis-bench measures it"

demo: build
	@$(BUILT)/release/portcullis demo

# Needs python3 and PostgreSQL; PORT is that of the proxy before the nodes.
PORT ?= 8080
NODES ?= 3
cluster: build
	@python3 tests/cluster/run $(BUILT)/release/portcullis --nodes $(NODES) --port $(PORT)

check: targets
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PURE) --all-targets -- -D warnings
	$(CARGO) test $(PURE)

# Every crate of the lock file, also those of other systems: the checks of the whole graph run offline.
fetch:
	$(CARGO) fetch --locked --quiet

# In the profile of the product: what the compiler itself needs is then built once.
lint: targets
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

doc: targets
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --exclude portcullis-tests --exclude portcullis-bench

# A test fails if one of them differs from the code.
docs: targets
	$(CARGO) build --release --workspace --bins --tests
	$(BUILT)/release/make-docs

deny:
	@if command -v cargo-deny >/dev/null 2>&1; then \
	  $(CARGO) deny --offline check bans licenses sources; \
	else \
	  echo "cargo-deny is not installed: licences and sources were not checked"; \
	fi

# Not `build`: product and tests together resolve one set of features, and nothing is built twice. `conformance` is the
# smallest of the tests that bring them in. Compiling the others keeps one core busy for minutes; meanwhile what needs only
# the product has the other one, and goes first. Not `modules`: compiling them has a time limit and the lowest priority.
# The benchmark is linted here, and built by `make bench`.
test: fetch lint doc deny
	$(CARGO) build --release --workspace --bin portcullis --test conformance
	@failed=0; $(MAKE) outside & \
	  nice -n 19 $(CARGO) build --release --workspace --bin portcullis --tests || failed=1; \
	  wait $$! || failed=1; exit $$failed
	$(MAKE) modules
	$(CARGO) test --release --workspace 2>&1 | tee $(BUILT)/test-output.txt
	@awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "%d passed, %d failed\n", passed, failed; exit (failed > 0 || passed == 0) }' $(BUILT)/test-output.txt

# What programs from outside do with the product, in small; each says so where they are not there.
outside:
	$(MAKE) clients CASES=1000 EXAMPLES=15 PHASES=examples,fuzzing
	$(MAKE) browser

# The API document, held against clients that others made from it: where npm and Python are. Needs the built product.
CASES ?= 5000
EXAMPLES ?= 100
CALLS ?= 200
clients:
	@if command -v npm >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1; then \
	  python3 tests/clients/run $(BUILT)/release/portcullis --work $(BUILT)/clients --cases $(CASES) --examples $(EXAMPLES) \
	    --calls $(CALLS) $(if $(PHASES),--phases $(PHASES)); \
	elif [ -n "$$PORTCULLIS_REQUIRE_CLIENTS" ]; then \
	  echo "npm and python3 are needed for the clients"; exit 1; \
	else \
	  echo "npm or python3 is not installed: generated clients were not tried"; \
	fi

# Starters and examples of modules, built by their languages' own tools and run. Needs the built product.
modules:
	@if command -v python3 >/dev/null 2>&1; then \
	  python3 tests/modules/run $(BUILT)/release/portcullis --work $(BUILT)/modules; \
	elif [ -n "$$PORTCULLIS_REQUIRE_MODULES" ]; then \
	  echo "python3 is needed for the modules"; exit 1; \
	else \
	  echo "python3 is not installed: no module was built and run"; \
	fi

# Consents in Chromium against an authorization server that is not ours. Needs the built product, and root for network
# namespaces.
browser:
	@if [ "$$(id -u)" = 0 ] && command -v npm >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1 && \
	  command -v ip >/dev/null 2>&1 && { [ -n "$$PORTCULLIS_CHROMIUM" ] || command -v chromium >/dev/null 2>&1; }; then \
	  python3 tests/browser/run $(BUILT)/release/portcullis --work $(BUILT)/browser; \
	elif [ -n "$$PORTCULLIS_REQUIRE_BROWSER" ]; then \
	  echo "root, ip, npm, python3 and chromium are needed for the consents in a browser"; exit 1; \
	else \
	  echo "NOT TRIED: consents in a browser need root, ip, npm, python3 and chromium"; \
	fi

# Every fuzz target for a while: needs a nightly toolchain and cargo-fuzz, and says so without them. What a run learns
# goes below the build directory; the seeds in the repository stay as they are.
FUZZ_SECONDS ?= 60
FUZZ := $(CARGO) +nightly fuzz
fuzz:
	@if $(CARGO) +nightly --version >/dev/null 2>&1 && command -v cargo-fuzz >/dev/null 2>&1; then \
	  $(FUZZ) build --fuzz-dir runtime/fuzz; \
	  for target in $$($(FUZZ) list --fuzz-dir runtime/fuzz); do \
	    learned=$(abspath $(BUILT))/fuzz/$$target; \
	    mkdir -p $$learned runtime/fuzz/corpus/$$target; \
	    echo "fuzz $$target for $(FUZZ_SECONDS) s"; \
	    $(FUZZ) run --fuzz-dir runtime/fuzz $$target $$learned runtime/fuzz/corpus/$$target -- \
	      -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 2>&1 \
	      | grep -E 'ERROR|SUMMARY|panicked|number_of_executed_units|Test unit written' || exit 1; \
	  done; \
	else \
	  echo "no nightly toolchain with cargo-fuzz: the fuzz targets were not run"; \
	fi

# Made-up definitions, mappings, sources and answers, through the code that serves calls, under a cap of CPU and memory.
MINUTES ?= 30
hostile: targets
	$(CARGO) build --release --workspace --bins --tests
	$(BUILT)/release/hostile-inputs --minutes $(MINUTES)

# The large counts, whose printed tables are the evidence for what the documents claim. About an hour and a half; what
# each line shows is in docs/performance.md, "Proofs". SEED repeats the kills of a run that printed it.
DAMAGES ?= 1000
KILLS ?= 200
POWER_CUTS ?= 60
NODE_KILLS ?= 200
NODE_CHANGES ?= 500
PRIMARY_KILLS ?= 10
ROTATION_KILLS ?= 50
BACKUPS ?= 100
KILL_RUNS ?= 2000
WEBHOOK_EVENTS ?= 1000
DEAD_RUNS ?= 2000
RECORDS ?= 1000000
prove: targets
	$(CARGO) build --release --workspace --bins --tests
	$(MAKE) clients CASES=5000 CALLS=10000
	$(MAKE) browser
	PORTCULLIS_DAMAGES=$(DAMAGES) PORTCULLIS_KILLS=$(KILLS) PORTCULLIS_POWER_CUTS=$(POWER_CUTS) \
	  $(CARGO) test --release --workspace --test it -- --nocapture --test-threads 1 \
	  field_cases::damage::corruption field_cases::damage::kills field_cases::damage::power
	PORTCULLIS_NODE_KILLS=$(NODE_KILLS) PORTCULLIS_NODE_CHANGES=$(NODE_CHANGES) \
	  PORTCULLIS_PRIMARY_KILLS=$(PRIMARY_KILLS) PORTCULLIS_ROTATION_KILLS=$(ROTATION_KILLS) PORTCULLIS_BACKUPS=$(BACKUPS) \
	  $(CARGO) test --release --workspace --test it -- --nocapture --test-threads 1 postgres:: keys:: nodes:: backup::
	PORTCULLIS_KILL_RUNS=$(KILL_RUNS) PORTCULLIS_DEAD_RUNS=$(DEAD_RUNS) $(if $(SEED),PORTCULLIS_SEED=$(SEED)) \
	  $(CARGO) test --release --workspace --test it -- --nocapture --test-threads 1 \
	  netns::killed_runs jobs::amplifying
	PORTCULLIS_WEBHOOK_EVENTS=$(WEBHOOK_EVENTS) \
	  $(CARGO) test --release --workspace --test it -- --nocapture --test-threads 1 webhooks::restarts
	PORTCULLIS_RUNS=$(RECORDS) PORTCULLIS_RECORDS=$(RECORDS) \
	  $(CARGO) test --release --workspace --lib -- --nocapture a_directory_of_many
	PORTCULLIS_ALONE=1 $(CARGO) test --release --workspace --test it -- --test-threads 1 field_cases::work_off_thread
	PORTCULLIS_MUTATIONS=500 $(CARGO) test --release --workspace --test it -- modules::refusals
	$(BUILT)/release/hostile-inputs --minutes $(MINUTES)

# Not part of `test`: descriptions and mock server come from outside; see tests/vendors/README.md.
vendors: targets
	@test -n "$(DESCRIPTIONS)" -a -n "$(PRISM)" || \
	  { echo "make vendors DESCRIPTIONS=dir PRISM=dir [ONLY=id,id]"; exit 2; }
	$(CARGO) build --release --workspace --bins
	$(BUILT)/release/vendor-judge --descriptions "$(DESCRIPTIONS)" --prism "$(PRISM)" \
	  $(if $(ONLY),--only $(ONLY))

# The comparison, then the micro benchmarks with criterion; BENCH is passed to the former. The hostile module is for its
# group guests.
HOSTILE_MODULE := $(BUILT)/wasm32-unknown-unknown/guest/hostile_guest.wasm
bench: targets
	$(CARGO) build --release --workspace --bins --tests --bench micro
	$(CARGO) build --package portcullis-hostile-guest --lib --profile guest --target wasm32-unknown-unknown
	$(BUILT)/release/portcullis-bench --module $(HOSTILE_MODULE) $(BENCH)
	$(CARGO) bench --workspace --bench micro

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
