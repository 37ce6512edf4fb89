#!/usr/bin/env bash
# The real S3 servers that are quick to install: about a minute on a fresh machine, half of it once they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./servers.sh install moto rclone radosgw
exec ./suite.sh moto radosgw rclone=refused
