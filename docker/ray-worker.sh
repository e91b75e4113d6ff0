#!/bin/sh
# A worker node of a Ray cluster; may join and leave during a sweep. Ends when Ray does.
#
# RAY_ADDRESS  head:port
# RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH  the cluster's token
# and those of ray-node.sh
set -eu
: "${RAY_ADDRESS:?RAY_ADDRESS must be the head as host:port}"
# shellcheck source=docker/ray-node.sh
. "$(dirname "$0")/ray-node.sh"
exec ray start --block --address "${RAY_ADDRESS}" "$@"
