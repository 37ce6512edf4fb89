#!/usr/bin/env bash
# The storage conformance suite against real S3 servers, one after the other.
#
#   suite.sh SERVER[=refused]...
#
# For each: start, run the tests of tests/storage whose names contain $DCOS_REGISTRY_TEST_FILTER (default
# real_server), stop. The tests find the server in DCOS_REGISTRY_TEST_S3. `=refused` means that the start-up probe
# must find the server out; the tests are told by DCOS_REGISTRY_TEST_S3_EXPECT. Every server is tried, whatever
# happens to the others. Ports: from $DCOS_REGISTRY_PARTS_PORT (default 25600), 100 for each server.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/parts/common.sh
source "$here/common.sh"

filter=${DCOS_REGISTRY_TEST_FILTER:-real_server}
port=${DCOS_REGISTRY_PARTS_PORT:-25600}
state=$(mktemp -d)
passed=0 failed=0 summary=()

# What is started is stopped, also when this script is interrupted.
clean_up() {
  local directory
  for directory in "$state"/*/; do
    [ ! -d "$directory" ] || "$here/servers.sh" stop "$directory" || true
  done
  rm -rf "$state"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# A filter that fits no test, or a test that skips itself, must not pass for success.
ran_a_test() { grep -qE '^test result: ok\. [1-9][0-9]* passed' "$1" && ! grep -q '^skipped: ' "$1"; }

# one SERVER EXPECTED: the tests against one server; the reason for a failure goes to $outcome.
one() {
  local server=$1 expected=$2 named
  outcome="did not start"
  named=$("$here/servers.sh" start "$server" "$port" "$state/$server") || return 1
  outcome="tests failed"
  DCOS_REGISTRY_TEST_S3=$named DCOS_REGISTRY_TEST_S3_EXPECT=$expected timeout --kill-after=10 900 \
    cargo test --locked --test storage -- --nocapture "$filter" 2>&1 | tee "$state/output" || return 1
  outcome="no test with $filter in its name ran"
  ran_a_test "$state/output" || return 1
  outcome=passed
}

[ $# -ge 1 ] || die "name at least one server"
cd "$repository"
cargo test --locked --test storage --no-run

for wanted in "$@"; do
  server=${wanted%%=*} expected=accepted started=$SECONDS
  [ "$wanted" = "$server" ] || expected=${wanted#*=}
  case $expected in accepted | refused) ;; *) die "$wanted: write $server or $server=refused" ;; esac
  printf '\n== %s, to be %s\n' "$server" "$expected"
  if one "$server" "$expected"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  "$here/servers.sh" stop "$state/$server" || failed=$((failed + 1))
  port=$((port + 100))
  summary+=("$(printf '%-8s to be %-8s  %s, %s s' "$server" "$expected" "$outcome" $((SECONDS - started)))")
done

printf '\n'
printf '%s\n' "${summary[@]}"
printf 'servers: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
