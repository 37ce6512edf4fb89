#!/usr/bin/env bash
# One-node Ceph with an object gateway: one monitor, one storage daemon that keeps everything in memory, one radosgw.
# Called by servers.sh: radosgw.sh PORT DIR ACCESS-KEY SECRET-KEY. Everything lies under DIR, everything listens on
# loopback: the gateway on PORT, the rest on PORT+1 to PORT+31.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/parts/common.sh
source "$here/common.sh"

port=$1 directory=$2 access=$3 secret=$4
ceph=$directory/data
config=$ceph/ceph.conf
cluster=$(cat /proc/sys/kernel/random/uuid)

# No manager daemon: it only balances and reports, and costs memory. No authentication between the daemons: they
# talk on loopback and hold nothing. `crc` for the monitor's clients is what makes that work for radosgw.
configure() {
  mkdir -p "$ceph"/{mon,osd,rgw,run}
  cat >"$config" <<EOF
[global]
fsid = $cluster
mon initial members = a
mon host = [v2:127.0.0.1:$((port + 1))/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
ms bind port min = $((port + 2))
ms bind port max = $((port + 31))
ms mon client mode = crc
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
keyring = $ceph/keyring
run dir = $ceph/run
admin socket = $ceph/run/\$cluster-\$name.asok
pid file = $ceph/run/\$name.pid
crash dir = $ceph/run
log to stderr = true
log file =
mon cluster log file =
mon cluster log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 2
mon data avail crit = 1
[mon]
mon data = $ceph/mon
[osd]
osd data = $ceph/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw.a]
rgw data = $ceph/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw thread pool size = 64
rgw gc max objs = 8
rgw lc max objs = 8
rgw enable usage log = false
rgw enable ops log = false
EOF
}

keys() {
  ceph-authtool --create-keyring "$ceph/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$ceph/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$ceph/keyring" --gen-key -n client.rgw.a --cap mon 'allow rwx' --cap osd 'allow rwx'
  monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$((port + 1))]" "$ceph/monmap"
}

ask() { timeout 20 ceph -c "$config" --connect-timeout 5 "$@"; }

monitor() {
  ceph-mon -c "$config" -i a --mkfs --monmap "$ceph/monmap" --keyring "$ceph/keyring"
  launch "$directory" ceph-mon ceph-mon -f -c "$config" -i a
  until_ok 60 ask mon stat
}

storage() {
  local uuid
  uuid=$(cat /proc/sys/kernel/random/uuid)
  ask osd new "$uuid"
  ceph-osd -c "$config" -i 0 --mkfs --osd-uuid "$uuid"
  ask osd crush add osd.0 1.0 root=default
  launch "$directory" ceph-osd ceph-osd -f -c "$config" -i 0
  until_ok 60 storage_is_up
}

storage_is_up() { ask osd stat | grep -q ' 1 up'; }

gateway() {
  # The first request of the first client makes the pools.
  timeout 60 radosgw-admin -c "$config" -n client.rgw.a user create --uid=test --display-name=test \
    --access-key="$access" --secret="$secret"
  launch "$directory" radosgw radosgw -f -c "$config" -n client.rgw.a
}

# Each step has a log of its own; where one fails, the end of it says why. No `if` or `||` around the steps: that
# would switch `set -e` off inside them.
told() {
  local code=$?
  [ "$code" != 0 ] || return 0
  tail -n 8 "$directory/$step.log" >&2
  say "the step '$step' failed, see $directory/$step.log"
}
trap told EXIT

for step in configure keys monitor storage gateway; do
  "$step" >"$directory/$step.log" 2>&1
done
