# Two commands: `make run` and `make test`. Both build in the one release profile, so that RocksDB is compiled once.

# Outside the clone, so that another clone need not compile RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/cairn/target
VENV ?= $(HOME)/.cache/cairn/venv
CAIRN := $(CARGO_TARGET_DIR)/release/cairn
CARGO := cargo
DISKS ?= ./data/disk1 ./data/disk2 ./data/disk3

.PHONY: run build test test-rust test-clients lint deps-build deps-test

run: build
	$(CAIRN) server $(DISKS)

build: deps-build
	$(CARGO) build --release --workspace --locked

test: test-rust test-clients

test-rust: deps-build
	$(CARGO) test --release --workspace --locked

test-clients: build deps-test
	CAIRN_BINARY=$(CAIRN) PATH="$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest -q tests/clients

lint: deps-build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

deps-build:
	@scripts/install-build-dependencies

deps-test:
	@VENV=$(VENV) scripts/install-test-dependencies
