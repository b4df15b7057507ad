# Each habit has one name here; `just` alone lists them.

default:
    @just --list

# What a change needs before it is committed.
check: fmt lint test

fmt:
    cargo fmt --all

lint:
    cargo clippy --workspace --all-targets -- -D warnings

test *ARGS:
    cargo test --workspace {{ARGS}}

# The rules of the house: who may see what, no circles, sizes.
tidy:
    cargo test -p ottla-tests --test tidy

# Licenses, bans and sources of third-party crates; needs cargo-deny.
deny:
    cargo deny check licenses bans sources

# Real clients in other languages against the release build.
clients *ARGS:
    cargo build --release --workspace
    tests/clients/run --ottla target/release/ottla {{ARGS}}

# The components of the shipped plugins, from source; needs the target wasm32-unknown-unknown.
plugins *ARGS:
    plugins/build {{ARGS}}

# All that CI does.
ci:
    .ci/run
