#!/usr/bin/env bash
# The real S3 servers that are built from source, some five minutes on a fresh machine, after those of ci.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./servers.sh install moto rclone radosgw minio s3s-fs
exec ./suite.sh moto radosgw rclone=refused minio s3s-fs=refused
