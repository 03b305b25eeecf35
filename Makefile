.PHONY: build run test chaos check fmt guard-record bench

build:
	cargo build --workspace

# A whole fleet in one process, and a page that shows it at work.
run: build
	target/debug/pushctl dev

test: build
	tests/install.sh
	tests/run.sh

# Whole fleets under faults, with the full numbers, and 100,000 simulated ones: about 25 minutes.
chaos: build
	target/debug/chaos
	SIMULATION_SCHEDULES=100000 cargo test -p pushcast-simulation

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all

# Writes the instruction counts of this compiler anew, after a change that is worth them.
guard-record:
	RECORD=1 cargo test -p pushcast-guard

# Measures everything beside other servers, and writes tests/bench/RESULTS.md: a quarter of an hour on a quiet machine.
bench:
	cargo build --release --workspace
	tests/bench/install.sh
	target/release/bench all
