#!/usr/bin/env bash
# Clients of Marathon that nobody here wrote, unmodified, against the local Marathon: the client `marathon` of the
# Python registry, and the `dcos marathon` commands of the old DC/OS CLI.
#
#   marathon.sh [client] [cli]      both if nothing is said
#
# $DCOS_REGISTRY_PROGRAM is the program, target/release/dcos-registry if unset. Ports: from $DCOS_REGISTRY_PARTS_PORT
# (default 25600) plus 900. Everything that was started is stopped, whatever happens.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/parts/common.sh
source "$here/common.sh"

client_version=0.13.0
cli_version=0.6.1
# What the CLI needs, in versions that it still works with; it names others, which do not build any more.
cli_needs=(
  "setuptools<81" docopt==0.6.2 pkginfo==1.12.1.2 toml==0.10.2 requests==2.32.3 six==1.17.0 prettytable==0.7.2
  jsonschema==3.2.0 pager==3.3 "pygments<3" PyJWT==1.7.1 sseclient==0.0.27 retrying==1.3.4 "cryptography<46" "virtualenv<21"
)

program=${DCOS_REGISTRY_PROGRAM:-$repository/target/release/dcos-registry}
port=$((${DCOS_REGISTRY_PARTS_PORT:-25600} + 900))
url=http://127.0.0.1:$port
state=$(mktemp -d)

clean_up() {
  stop_all "$state" || true
  rm -rf "$state"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# allow_old_names FOLDER: what is installed there was written for a Python that had these names in `collections`.
allow_old_names() {
  cat >"$(echo "$1"/lib/python3*/site-packages)/sitecustomize.py" <<'PYTHON'
import collections
import collections.abc

for name in ("Callable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))
PYTHON
}

install_cli() {
  local folder=$parts/dcoscli
  [ ! -f "$folder/installed" ] || [ "$(cat "$folder/installed")" != "$cli_version" ] || return 0
  rm -rf "$folder"
  retry 60 python3 -m venv "$folder" || return 1
  retry 180 "$folder/bin/pip" install -q --no-deps "dcos==$cli_version" "dcoscli==$cli_version" || return 1
  retry 300 "$folder/bin/pip" install -q "${cli_needs[@]}" || return 1
  allow_old_names "$folder" || return 1
  printf '%s' "$cli_version" >"$folder/installed"
}

# begin NAME OPTIONS...: a local Marathon of its own, fresh.
begin() {
  local name=$1
  shift
  mkdir -p "$state/$name"
  launch "$state" "$name" "$program" marathon-local --port "$port" --dir "$state/$name" "$@"
  until_ok 30 curl -sf -o /dev/null --max-time 5 "$url/ping" || die "$(last_words "$state") the local Marathon does not answer at $url"
}

client() {
  python_program marathon-client "marathon==$client_version"
  allow_old_names "$parts/marathon-client"
  # As old as the client is: it refuses to read fields that came later.
  begin client --profile 1.8
  timeout --kill-after=10 600 "$parts/marathon-client/bin/python" -B "$here/marathon_client.py" "$url"
  stop_all "$state"
}

# dcos ARGUMENTS...: the CLI as a user of the cluster has it.
dcos() { DCOS_DIR=$state/cli DCOS_CONFIG=$state/cli.toml timeout --kill-after=10 120 "$parts/dcoscli/bin/dcos" "$@"; }

# says WORDS COMMAND...: the command succeeds, and its output has the words.
says() {
  local words=$1 output
  shift
  output=$("$@" 2>&1) || die "$*: ended with $?: $output"
  grep -qF -- "$words" <<<"$output" || die "$*: does not say \"$words\": $output"
}

# fails WORDS COMMAND...: the command fails with an error of its own (not a traceback), and its output has the words.
fails() {
  local words=$1 output
  shift
  ! output=$("$@" 2>&1) || die "$*: succeeded: $output"
  ! grep -q Traceback <<<"$output" || die "$*: $output"
  grep -qF -- "$words" <<<"$output" || die "$*: does not say \"$words\": $output"
}

# at_rest: no deployment is under way.
at_rest() { [ "$(curl -sf --max-time 5 "$url/v2/deployments")" = "[]" ]; }

rests() { until_ok 60 at_rest || die "after 60 s there is still a deployment: $(curl -s "$url/v2/deployments")"; }

sleeper() { printf '{"id": "%s", "cmd": "exec sleep 1000", "cpus": 0.01, "mem": 16, "instances": %s}' "$1" "$2"; }

cli() {
  locked dcoscli install_cli || die "cannot install dcoscli $cli_version with pip (see above)"
  begin cli
  mkdir -p "$state/cli"
  printf '[core]\ndcos_url = "%s"\nreporting = false\n[cluster]\nname = "local"\n[marathon]\nurl = "%s"\n' "$url" "$url" >"$state/cli.toml"
  chmod 600 "$state/cli.toml"

  says '"version"' dcos marathon about
  says Marathon dcos marathon ping --once
  sleeper /cli/one 1 >"$state/one.json"
  says "Created deployment" dcos marathon app add "$state/one.json"
  rests
  fails "already exists" dcos marathon app add "$state/one.json"
  says /cli/one dcos marathon app list
  says '"exec sleep 1000"' dcos marathon app show /cli/one
  fails "does not exist" dcos marathon app show /cli/none
  says "Created deployment" dcos marathon app update /cli/one instances=2
  rests
  says '"instances": 2' dcos marathon app show /cli/one
  says "Created deployment" dcos marathon app restart /cli/one
  rests
  says "Killed tasks" dcos marathon app kill /cli/one
  rests
  says T dcos marathon app version list /cli/one
  says /cli/one dcos marathon task list
  task=$(dcos marathon task list --json /cli/one | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
  says "$task" dcos marathon task show "$task"
  says "Created deployment" dcos marathon app stop /cli/one
  rests
  says "Created deployment" dcos marathon app start /cli/one
  rests

  # It wants a port that is taken, so that it waits.
  printf '{"id": "/cli/stuck", "cmd": "sleep 1", "cpus": 0.01, "mem": 16, "requirePorts": true, "portDefinitions": [{"port": %s}]}' \
    "$port" >"$state/stuck.json"
  says "Created deployment" dcos marathon app add "$state/stuck.json"
  says /cli/stuck dcos marathon debug list
  says /cli/stuck dcos marathon deployment list
  deployment=$(dcos marathon deployment list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
  says deploymentId dcos marathon deployment rollback "$deployment"
  rests
  says "Created deployment" dcos marathon app add "$state/stuck.json"
  deployment=$(dcos marathon deployment list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
  dcos marathon deployment stop "$deployment"
  rests
  says "" dcos marathon app remove --force /cli/stuck
  rests

  printf '{"id": "/cli/group", "apps": [%s]}' "$(sleeper a 1)" >"$state/group.json"
  says "Created deployment" dcos marathon group add "$state/group.json"
  rests
  says /cli/group dcos marathon group list
  says /cli/group/a dcos marathon group show /cli/group
  says "Created deployment" dcos marathon group scale /cli/group 2
  rests
  says "" dcos marathon group remove /cli/group
  rests

  printf '{"id": "/cli/pod", "containers": [{"name": "c", "resources": {"cpus": 0.01, "mem": 16}, "exec": {"command": {"shell": "exec sleep 1000"}}}], "scaling": {"kind": "fixed", "instances": 0}}' >"$state/pod.json"
  says "Created deployment" dcos marathon pod add "$state/pod.json"
  rests
  says /cli/pod dcos marathon pod list
  says '"id": "/cli/pod"' dcos marathon pod show /cli/pod
  says "" dcos marathon pod remove /cli/pod
  rests

  says "" dcos marathon app remove /cli/one
  rests
  ! dcos marathon app list | grep -q /cli/ || die "apps are left: $(dcos marathon app list)"
  stop_all "$state"
}

[ -x "$program" ] || die "there is no $program; build it, or name another in DCOS_REGISTRY_PROGRAM"
[ $# -ge 1 ] || set -- client cli
for part in "$@"; do
  case $part in client | cli) ;; *) die "$part: write client or cli" ;; esac
  printf '\n== Marathon through the %s\n' "$part"
  "$part"
  printf 'ok %s\n' "$part"
done
