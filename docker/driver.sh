#!/bin/sh
# Run hybrid-search on a cluster. Commands that train first join it as a node without CPUs, because Ray needs a node on
# the driver's machine. SIGTERM reaches the driver, which saves.
#
# RAY_ADDRESS  head:port
# RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH  the cluster's token
set -eu
export RAY_AUTH_MODE=token
case "${1:-}" in
  sweep | compare | reproduce)
    line="hybrid-search $*"
    : "${RAY_ADDRESS:?RAY_ADDRESS must be the head as host:port}"
    tries=3 # a busy head may answer too late
    until (
      export NODE_CPUS=0 NODE_GPUS=0
      # shellcheck source=docker/ray-node.sh
      . "$(dirname "$0")/ray-node.sh"
      exec ray start --address "${RAY_ADDRESS}" "$@" >/dev/null
    ); do
      [ $? -ne 2 ] || exit 2 # no token, or a wrong option: reported already
      tries=$((tries - 1))
      [ "${tries}" -gt 0 ] || { echo "driver.sh: could not join ${RAY_ADDRESS} for: ${line}" >&2; exit 2; }
      sleep 5
    done
    ;;
esac
exec hybrid-search "$@"
