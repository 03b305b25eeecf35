.PHONY: build run test chaos fuzz image image-scratch image-test chart-test chart-readme check fmt guard-record bench

build:
	cargo build --workspace

# A whole fleet in one process, and a page that shows it at work.
run: build
	target/debug/pushctl dev

test: build
	tests/install.sh
	tests/run.sh

# Whole fleets under faults, with the full numbers, 100,000 simulated ones, and a minute of each fuzz target: about 40
# minutes.
chaos: build
	target/debug/chaos
	SIMULATION_SCHEDULES=100000 cargo test -p pushcast-simulation
	tests/fuzz/run.sh 60

# The Helm chart: rendered, checked, refused and run; a part of `make test`.
chart-test: build
	tests/install.sh
	.venv/bin/python -m unittest discover -s tests/chart

# The container image IMAGE:TAG (pushcast, the version) with all three programs, built in a container of the engine that is
# there; a manifest with PLATFORMS=linux/amd64,linux/arm64.
image:
	image/build.sh

# The same from programs that are compiled here: needs Rust and musl-tools, and pulls nothing.
image-scratch:
	image/root.sh target/image
	image/build.sh --build-context files=target/image

# The image, built from scratch, looked into and run read-only; a part of `make test`.
image-test:
	tests/install.sh
	tests/image/run.sh

# Writes the table of values in the chart's README anew.
chart-readme:
	.venv/bin/python tests/chart/readme.py

# An hour of each fuzz target.
fuzz:
	tests/fuzz/run.sh 3600

check:
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

# Writes the instruction counts of this compiler anew, after a change that is worth them.
guard-record:
	RECORD=1 cargo test -p pushcast-guard

# Measures everything beside other servers, and writes tests/bench/RESULTS.md: a quarter of an hour on a quiet machine.
bench:
	cargo build --release --workspace
	tests/bench/install.sh
	target/release/bench all
