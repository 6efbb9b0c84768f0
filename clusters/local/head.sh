#!/bin/sh
# The first machine of a cluster: Ray's head, and the platform on it.
#
#   clusters/local/head.sh 10.0.0.1 [options of `ray start`]
#
# The address is the one at which the other machines reach this one. AIFORGE_STORAGE_URI must name
# a place that all machines see: s3://…, or a directory on a shared file system.
set -eu
address="${1:?usage: head.sh ADDRESS [options of ray start]}"
shift
. "$(dirname "$0")/environment.sh"

: "${AIFORGE_STORAGE_URI:?name a storage that every machine sees: s3://bucket/prefix or a shared directory}"
port="${RAY_PORT:-6379}"
ray start --head --node-ip-address="$address" --port="$port" --disable-usage-stats \
  --dashboard-host=127.0.0.1 "$@"
AIFORGE_RAY_ADDRESS="$address:$port" exec aiforge up --detach
