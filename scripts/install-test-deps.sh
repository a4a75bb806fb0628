#!/usr/bin/env bash
# Installs what the tests and benchmarks drive: real clients, peers to measure against, and small tools.
# Safe to run again and again: it does only what is missing, and nothing at all (in well under two seconds)
# where everything is there. Starts no system service, so it works in a container without systemd.
#
# Needs Debian or Ubuntu, and root or sudo. Usage: scripts/install-test-deps.sh
set -euo pipefail

packages=(
    # Clients.
    docker.io skopeo podman buildah curl
    # What the clients run with: an OCI runtime, user name spaces, storage, the policy that says whom to trust.
    crun uidmap fuse-overlayfs iptables golang-github-containers-common
    # What images are made of.
    busybox-static
    # Peers of the benchmarks, and the load generator used against them.
    docker-registry nginx-light wrk
    # The other reverse proxy that configurations are made for; the server alone, which nothing starts.
    apache2-bin
    # An authority to ask for certificates, made for tests.
    pebble
    # Tools of the scripts and tests; build-essential is the linker that Rust needs.
    python3 python3-venv apache2-utils jq openssl build-essential ca-certificates procps util-linux
)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "scripts/install-test-deps.sh: not root, and there is no sudo to become it: $*" >&2
        exit 1
    fi
}

missing=()
installed=" $(dpkg-query --show --showformat '${db:Status-Status}:${Package} ' "${packages[@]}" 2>/dev/null || true)"
for package in "${packages[@]}"; do
    [[ $installed == *" installed:$package "* ]] || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}"
    # While this file says 101, no maintainer script starts a service (Debian Policy 9.3.3).
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f "$policy"' EXIT
    fi
    as_root apt-get update --quiet --quiet
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
fi

# A program of the name may be in place by other means (a release's binary); then it is left alone.
if ! command -v cargo-deny >/dev/null && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-deny" ]; then
    echo "installing: cargo-deny"
    cargo install cargo-deny --locked
fi

# Clients of Artifactory, in an environment of their own. Its stamp says from which list it was made.
requirements=$(dirname "$0")/../tests/python/requirements.txt
python=${XDG_CACHE_HOME:-$HOME/.cache}/supercargo-tests/python
if ! cmp --silent "$requirements" "$python/requirements.txt"; then
    echo "installing: $(grep --count '^[a-z].*==' "$requirements") Python packages"
    rm -rf "$python"
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements"
    cp "$requirements" "$python/requirements.txt"
fi
