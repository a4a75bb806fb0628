#!/usr/bin/env bash
# Builds the registry and serves it from ./data. On a fresh machine it needs Rust (rustup) and apt alone.
# Arguments are passed on to `supercargo serve`; one of them may be another --data.
#
# Usage: scripts/run.sh [argument of serve…]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# Rust links with the system's C compiler; nothing else is needed to build.
if ! command -v cc >/dev/null; then
    become=()
    [ "$(id -u)" -eq 0 ] || become=(sudo)
    "${become[@]}" apt-get update --quiet --quiet
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends build-essential
fi

cargo build --release --package supercargo --manifest-path "$root/Cargo.toml"

data=(--data ./data)
for argument in "$@"; do
    case $argument in --data | --data=*) data=() ;; esac
done
exec "${CARGO_TARGET_DIR:-$root/target}/release/supercargo" serve "${data[@]}" "$@"
