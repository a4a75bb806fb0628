# Everything that a developer does. `just` without arguments lists it.

_default:
    @just --list --unsorted

# Serve ./data on 127.0.0.1:5000 from a release build; arguments go to `supercargo serve`
run *args:
    scripts/run.sh {{ args }}

# All tests; arguments go to the runner
test *args:
    scripts/test.sh {{ args }}

# The tests whose names hold a word
test-name name:
    scripts/test.sh -E 'test({{ name }})'

# The unit and property tests alone: no clients, no daemons
test-fast:
    cargo nextest run --workspace --exclude supercargo-tests --exclude supercargo-benches

# More cases for every property
test-long:
    PROPTEST_CASES=20000 cargo nextest run --workspace --exclude supercargo-tests --exclude supercargo-benches

# Fuzz the parsers at the edge, a minute each; arguments are how many seconds instead, and which
fuzz *args:
    scripts/fuzz.sh {{ args }}

# Measure against the peers and the hardware; arguments are scenarios
bench *args:
    scripts/bench.sh {{ args }}

# See that every benchmark runs, on tiny inputs
bench-smoke:
    scripts/bench.sh --smoke

# Formatting, lints, licences and bans
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo deny --log-level error check licenses bans sources

# Format everything
fmt:
    cargo fmt --all

# The libraries' documentation
docs:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps

# All that CI does
ci:
    .ci/run

# A server with a few images in it, made here, and what its log says of them
demo:
    scripts/demo.sh
