#!/usr/bin/env bash
# Shows what Supercargo is about in a minute: serves a temporary data folder, pushes two versions of an image
# made here with skopeo, moves and deletes a tag, collects, and asks the log what happened.
#
# Usage: scripts/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-test-deps.sh
cargo build --release --package supercargo
supercargo=${CARGO_TARGET_DIR:-target}/release/supercargo
work=$(mktemp -d)
server=
# The server is the only process that outlives a command here.
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

mkfifo "$work/out"
SUPERCARGO_GC__UNTAGGED_AFTER=0s "$supercargo" serve --data "$work/data" --listen 127.0.0.1:0 \
    --log-level warn >"$work/out" &
server=$!
read -r line <"$work/out"
url=${line#listening on }
address=${url#http://}

image() {
    mkdir -p "$work/$1"
    head -c 100000 /dev/urandom >"$work/$1/data"
    tar -C "$work/$1" -cf "$work/$1.tar" data
    buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs from --name "$1" scratch >/dev/null
    buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs add "$1" "$work/$1.tar" >/dev/null
    buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs commit --quiet "$1" "oci:$work/$1.oci:latest" >/dev/null
}
image one
image two

push() {
    show skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci:$work/$1.oci:latest" "docker://$address/shop/web:$2"
}
push one prod
push two prod
show "$supercargo" tag history docker-local shop/web prod --server "$url"
show "$supercargo" log list --server "$url"
show skopeo --insecure-policy delete --tls-verify=false "docker://$address/shop/web:prod"
show "$supercargo" gc --dry-run --server "$url"
show "$supercargo" gc --server "$url"
show "$supercargo" verify --deep --server "$url"
