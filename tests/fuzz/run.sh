#!/usr/bin/env bash
# Fuzzes every target for so many seconds, one after the other: `tests/fuzz/run.sh SECONDS [TARGET…]`. What it finds is
# left in tests/fuzz/artifacts, and what is worth trying again in tests/fuzz/corpus; where there are tests/fuzz/seeds, it
# begins with them. Installs cargo-fuzz into target/.
set -euo pipefail
cd "$(dirname "$0")"

seconds="$1"
shift
targets=("$@")
[ "${#targets[@]}" -gt 0 ] ||
    targets=(client_json client_protobuf link_frames tickets tokens http_gateway registry_records)

version=0.13.1
tools="$PWD/../../target/tools"
[ -x "$tools/bin/cargo-fuzz" ] ||
    cargo install --quiet --root "$tools" --target-dir "$tools/build" --version "$version" --locked cargo-fuzz
export PATH="$tools/bin:$PATH"
# Coverage and sanitizers are not stable features; this lets the stable compiler of everything else have them.
export RUSTC_BOOTSTRAP=1
# The versions of everything else, too.
cp ../../Cargo.lock Cargo.lock

failed=()
for target in "${targets[@]}"; do
    log="$(mktemp)"
    corpora=("corpus/$target")
    [ ! -d "seeds/$target" ] || corpora+=("seeds/$target")
    mkdir -p "${corpora[0]}"
    # A manager of its own thread frees what a run took only after it: looking for leaks there takes half of the time.
    options=()
    [ "$target" != http_gateway ] || options+=(-detect_leaks=0)
    if cargo fuzz run --fuzz-dir . "$target" "${corpora[@]}" -- -max_total_time="$seconds" -rss_limit_mb=4096 \
        -timeout=60 ${options[@]+"${options[@]}"} -print_final_stats=1 -verbosity=0 >"$log" 2>&1; then
        runs="$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")"
        echo "$target: $runs runs in $seconds s, nothing found"
    else
        failed+=("$target")
        tail -n 60 "$log"
        echo "$target: FAILED"
    fi
    rm -f "$log"
done
[ "${#failed[@]}" -eq 0 ]
