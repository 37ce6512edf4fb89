#!/usr/bin/env bash
# The programs that ours is measured beside: Debian's docker-registry and nginx, on loopback only.
#
#   peers.sh install
#   peers.sh start registry|nginx PORT DIR    prints {"url","root","config"} on one line
#   peers.sh stop DIR
#
# nginx serves DIR/files; docker-registry keeps DIR/data. `install` also brings wrk, the load generator.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/parts/common.sh
source "$here/../parts/common.sh"
# Debian keeps nginx where only root looks.
PATH=$PATH:/usr/sbin

install() {
  debian docker-registry docker-registry
  debian nginx nginx-light
  debian wrk wrk
}

configure_registry() {
  mkdir -p "$2/data"
  cat >"$2/config.yml" <<EOF
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: "$2/data"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$1"}
EOF
}

# Everything that nginx writes stays in its own prefix. As root its workers stay root, since DIR may be closed to
# others; elsewhere they cannot change.
configure_nginx() {
  mkdir -p "$2/files" "$2/temporary"
  {
    [ "$(id -u)" != 0 ] || echo 'user root;'
    cat <<EOF
worker_processes auto;
pid $2/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  gzip_static on;
  keepalive_requests 1000000;
  open_file_cache max=10000 inactive=60s;
  default_type application/octet-stream;
  client_body_temp_path $2/temporary/body;
  proxy_temp_path $2/temporary/proxy;
  fastcgi_temp_path $2/temporary/fastcgi;
  uwsgi_temp_path $2/temporary/uwsgi;
  scgi_temp_path $2/temporary/scgi;
  server { listen 127.0.0.1:$1 backlog=1024; root $2/files; }
}
EOF
  } >"$2/config"
}

run_registry() {
  configure_registry "$1" "$2"
  config=$2/config.yml root=$2/data
  launch "$2" registry docker-registry serve "$config"
}

run_nginx() {
  configure_nginx "$1" "$2"
  config=$2/config root=$2/files
  launch "$2" nginx nginx -p "$2" -c "$config" -e stderr -g 'daemon off;'
}

start() {
  mkdir -p "$3"
  directory=$(cd "$3" && pwd)
  stop_all "$directory"
  ! listens "$2" || die "port $2 is in use by something else; give another"
  trap give_up EXIT
  "run_$1" "$2" "$directory"
  until_ok 20 answers "$2" || die "$1 does not answer on port $2 after 20 seconds"
  all_run "$directory" || die "$1 ended by itself"
  printf '{"url":"http://127.0.0.1:%s","root":"%s","config":"%s"}\n' "$2" "$root" "$config"
}

give_up() {
  local code=$?
  [ "$code" != 0 ] || return 0
  [ ! -f "$directory/pids" ] || last_words "$directory"
  stop_all "$directory"
}

case "${1:-} ${2:-} $#" in
  'install  1') install ;;
  'start registry 4' | 'start nginx 4') start "$2" "$3" "$4" ;;
  stop*2) stop_all "$2" ;;
  *)
    sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
