#!/bin/sh
# Greets somebody, loudly where HELLO_LOUD is true, then counts a heartbeat every HELLO_INTERVAL seconds.
#
#   hello.sh          runs until SIGTERM or SIGINT
#   hello.sh check    says whether the heartbeat still moves; for the health check, in the same folder
#
# Needs a POSIX shell and nothing else.
set -u

# Compares the count with what the last check saw. The check may come more often than the heartbeat, so
# only several checks in a row with the same count mean that it stands still.
check() {
  read -r count interval 2>/dev/null <heartbeat || { echo "no heartbeat yet"; exit 1; }
  seen='' times=0
  if [ -f heartbeat.seen ]; then read -r seen times <heartbeat.seen; fi
  if [ "$count" = "$seen" ]; then times=$((times + 1)); else times=0; fi
  echo "$count $times" >heartbeat.seen
  if [ "$times" -gt $((interval + 3)) ]; then
    echo "the heartbeat stands still at $count"
    exit 1
  fi
}

say() {
  if [ "${HELLO_LOUD:-false}" = true ]; then echo "$1" | tr '[:lower:]' '[:upper:]'; else echo "$1"; fi
}

run() {
  interval="${HELLO_INTERVAL:-1}" sleeper=''
  trap 'say "Goodbye, ${HELLO_NAME:-you}."; [ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null; exit 0' TERM INT
  say "${HELLO_GREETING:-Hello}, ${HELLO_NAME:-you}! This is version 0.2.0."
  count=0
  while :; do
    # Written beside and renamed, so that a check never reads half a number.
    echo "$count $interval" >heartbeat.next && mv heartbeat.next heartbeat
    echo "heartbeat $count"
    count=$((count + 1))
    # A shell runs its trap only after the command at hand; "wait" can be interrupted, "sleep" cannot.
    sleep "$interval" &
    sleeper=$!
    wait "$sleeper"
  done
}

case "${1:-run}" in
  run) run ;;
  check) check ;;
  *) echo "usage: hello.sh [check]" >&2; exit 64 ;;
esac
