# One-line recipes; each is an ordinary command that works without just.

# formatting, lints, rules of the house
check:
    cargo fmt --check && cargo clippy --all-targets -- -D warnings

# all tests
test:
    cargo test

# the process test of `up`, with the release binary
process:
    cargo test --release --test up

# review changed golden files
snap:
    cargo insta review
