#!/usr/bin/env bash
# Fuzzes the parsers at the edge, one after the other. Needs a nightly compiler and cargo-fuzz
# (`rustup toolchain install nightly`, `cargo install cargo-fuzz`). What is found is under fuzz/artifacts/.
#
# Usage: scripts/fuzz.sh [seconds for each, 60 by default] [target…]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
targets=("${@:2}")
if [ "${#targets[@]}" -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5
done
