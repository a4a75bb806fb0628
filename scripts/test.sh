#!/usr/bin/env bash
# Runs every test: installs what they need, builds the binary that they start, then runs them all. Ends with
# the runner's summary. Arguments are passed on to the runner.
#
# Usage: scripts/test.sh [argument of cargo nextest run, or of cargo test…]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-test-deps.sh
# The dev profile: crash points are compiled into debug builds alone.
cargo build --package supercargo

if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --workspace "$@"
fi
exec cargo test --workspace "$@"
