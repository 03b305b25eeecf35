#!/usr/bin/env bash
# Runs every test. The system tests mostly wait (for leases, outages, time-outs), so more of them run at
# once than there are cores; those that need a core, or compare times, take turns by themselves.
set -euo pipefail
cd "$(dirname "$0")/.."

node_modules/.bin/buf lint
.venv/bin/python -m unittest discover -s tests/chart
tests/image/run.sh
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}"
cargo test --workspace --no-fail-fast
