# Two commands: `make run` and `make test`. Both build in the one release profile, so that RocksDB is compiled once.

# Outside the clone, so that another clone need not compile RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/cairn/target
VENV ?= $(HOME)/.cache/cairn/venv
CAIRN := $(CARGO_TARGET_DIR)/release/cairn
CARGO := cargo
DISKS ?= ./data/disk1 ./data/disk2 ./data/disk3

.PHONY: run build test test-rust test-clients fuzz lint deps-build deps-faults deps-test

run: build
	$(CAIRN) server $(DISKS)

build: deps-build
	$(CARGO) build --release --workspace --locked

test: test-rust test-clients

test-rust: deps-build deps-faults
	$(CARGO) test --release --workspace --locked

test-clients: build deps-test
	CAIRN_BINARY=$(CAIRN) PATH="$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest -q tests/clients

# The fuzz targets, which every `make test` tries a little, for longer. CAIRN_FUZZ_SEED repeats a run.
INPUTS ?= 1000000
fuzz: deps-build
	CAIRN_FUZZ_INPUTS=$(INPUTS) $(CARGO) test --release --workspace --lib --locked fuzz:: -- --nocapture

lint: deps-build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

deps-build:
	@scripts/install-build-dependencies

deps-faults:
	@scripts/install-fault-dependencies

deps-test:
	@VENV=$(VENV) scripts/install-test-dependencies
