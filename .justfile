# One-line recipes; each is an ordinary command that works without just.

# formatting, lints, rules of the house
check:
    cargo fmt --check && cargo clippy --all-targets -- -D warnings

# all tests
test:
    cargo test

# the process tests, with the release binary
process:
    cargo build --release && DCOS_REGISTRY_PROGRAM="$PWD/target/release/dcos-registry" cargo test --test up --test cluster

# seeded universes of several instances, for ten minutes
sim:
    DCOS_REGISTRY_SIM_SEEDS=100000 DCOS_REGISTRY_SIM_SECONDS=600 cargo test --config 'profile.dev.package."*".opt-level=2' --config 'profile.dev.package.dcos-registry.opt-level=1' --lib storage::sim -- --nocapture

# the model check to its full bounds
model:
    DCOS_REGISTRY_MODEL=full cargo test --config 'profile.dev.package.dcos-registry.opt-level=3' --test protocol -- --nocapture --test-threads=1

# the storage suite on real S3 servers
parts:
    tests/parts/ci.sh

# everything beside its peer
bench:
    cargo build --release && tests/bench/bench.py

# all of it with the full numbers; takes hours
nightly:
    .ci/nightly

# review changed golden files
snap:
    cargo insta review
