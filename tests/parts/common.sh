# shellcheck shell=bash
# What the scripts of tests/parts and tests/bench share: words, retries, waits, and processes known by pid.
# Source it; it runs nothing. Whoever sources it has `set -euo pipefail`.
#
# A process is written down as "pid start-time" (field 22 of /proc/PID/stat), so that a pid that has since
# been given to somebody else is never ended by us.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where downloaded programs stay from run to run.
parts=${DCOS_REGISTRY_PARTS:-$repository/target/parts}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 DEBIAN_FRONTEND=noninteractive

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# retry SECONDS COMMAND...: three times at most, each bounded, with a pause between; its output only when it fails.
retry() {
  local limit=$1 attempt log
  shift
  log=$(mktemp)
  for attempt in 1 2 3; do
    if timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null; then
      rm -f "$log"
      return 0
    fi
    say "attempt $attempt of 3 failed: $*"
    tail -n 5 "$log" >&2
    [ "$attempt" = 3 ] || sleep $((attempt * 5))
  done
  rm -f "$log"
  return 1
}

# locked NAME COMMAND...: two scripts never install the same thing at once.
locked() {
  local name=$1
  shift
  mkdir -p "$parts"
  (
    flock -w 1800 9 || die "waited 30 minutes for another installation of $name; remove $parts/$name.lock if there is none"
    "$@"
  ) 9>"$parts/$name.lock"
}

# until_ok SECONDS COMMAND...: until the command succeeds; false when the time is over.
until_ok() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# Whether something accepts connections on a port of loopback.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Whether an HTTP server answers there, whatever it says.
answers() { curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$1/"; }

start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# launch DIR NAME COMMAND...: starts a process of its own session, output to DIR/NAME.log, and writes it down.
launch() {
  local directory=$1 name=$2
  shift 2
  setsid "$@" >>"$directory/$name.log" 2>&1 </dev/null &
  printf '%s %s %s\n' "$!" "$(start_time $!)" "$name" >>"$directory/pids"
}

# Whether every process written down in DIR still runs, and there is one.
all_run() {
  local pid started name
  [ -s "$1/pids" ] || return 1
  while read -r pid started name; do
    [ "$(start_time "$pid")" = "$started" ] || return 1
  done <"$1/pids"
}

# The last words of a process that has ended, for a message.
last_words() {
  local pid started name
  while read -r pid started name; do
    [ "$(start_time "$pid")" != "$started" ] || continue
    say "$name has ended; the end of $1/$name.log:"
    tail -n 8 "$1/$name.log" >&2
  done <"$1/pids"
}

none_runs() {
  local pid started name
  while read -r pid started name; do
    [ "$(start_time "$pid")" != "$started" ] || return 1
  done <"$1/pids"
}

signal_all() {
  local pid started name
  tac "$2/pids" | while read -r pid started name; do
    [ "$(start_time "$pid")" != "$started" ] || kill "-$1" "$pid" 2>/dev/null || true
  done
}

# stop_all DIR: asks every process written down there to end, then makes it. Nothing there is fine.
stop_all() {
  [ -f "$1/pids" ] || return 0
  signal_all TERM "$1"
  if ! until_ok 10 none_runs "$1"; then
    signal_all KILL "$1"
    until_ok 5 none_runs "$1" || die "a process of $1/pids does not end"
  fi
  rm -f "$1/pids"
}

# debian PROGRAM PACKAGE...: installs Debian packages unless the program is there.
debian() {
  local program=$1
  shift
  ! command -v "$program" >/dev/null || return 0
  command -v apt-get >/dev/null || die "cannot install $*: there is no apt-get; install $program by hand"
  [ "$(id -u)" = 0 ] || die "cannot install $*: not root; run: sudo apt-get install $*"
  locked debian install_debian "$@" || die "cannot install $* with apt-get (see above)"
}

install_debian() {
  # The lists are fetched once per day of use; a fresh machine has none or old ones.
  if [ -z "$(find "$parts/debian.updated" -mmin -1440 2>/dev/null)" ]; then
    if retry 120 apt-get update -q; then touch "$parts/debian.updated"; else say "going on with the old lists"; fi
  fi
  retry 300 apt-get install -q -y --no-install-recommends "$@"
}

# python_program NAME PACKAGE==VERSION: installs into a virtual environment of its own, $parts/NAME.
python_program() {
  local name=$1
  [ ! -f "$parts/$name/installed" ] || [ "$(cat "$parts/$name/installed")" != "$2" ] || return 0
  command -v python3 >/dev/null || die "cannot install $2: there is no python3"
  locked "$name" install_python "$@" || die "cannot install $2 with pip (see above)"
}

install_python() {
  local name=$1
  [ ! -f "$parts/$name/installed" ] || [ "$(cat "$parts/$name/installed")" != "$2" ] || return 0
  rm -rf "${parts:?}/$name"
  retry 60 python3 -m venv "$parts/$name" || return 1
  retry 180 "$parts/$name/bin/pip" install -q "$2" || return 1
  printf '%s' "$2" >"$parts/$name/installed"
}
