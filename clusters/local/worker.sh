#!/bin/sh
# Another machine of the cluster. Run it again after a restart of the machine.
#
#   clusters/local/worker.sh 10.0.0.1:6379 [options of `ray start`]
#
# Software, token and AIFORGE_* variables are those of the head's machine. `ray stop` leaves the
# cluster: what ran here goes on elsewhere, from its last checkpoint.
set -eu
head="${1:?usage: worker.sh HEAD_ADDRESS:PORT [options of ray start]}"
shift
. "$(dirname "$0")/environment.sh"

exec ray start --address="$head" --disable-usage-stats "$@"
