.PHONY: build test check fmt

build:
	cargo build --workspace

test: build
	tests/install.sh
	tests/run.sh

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all
