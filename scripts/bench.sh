#!/usr/bin/env bash
# Measures the registry beside its peers and beside what the hardware allows: builds what is measured and
# what measures, runs every scenario or those that are named, prints a table, and leaves the figures in
# benches/results/latest.json. With --smoke it only shows that everything runs. docs/benchmarks.md says what
# is measured and how to read it; --help lists scenarios and options.
#
# Usage: scripts/bench.sh [--smoke] [option of bench…] [scenario…]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-test-deps.sh
# One after the other: built together, the program under measurement would get the features that only the
# load generator needs.
cargo build --release --package supercargo
cargo build --release --package supercargo-benches
target=${CARGO_TARGET_DIR:-target}
exec "$target/release/bench" --work "$target/bench" "$@"
