#!/bin/sh
# The head of a Ray cluster, to which nodes and drivers connect. Ends when Ray does.
#
# RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH  the cluster's token; required
# RAY_PORT        6379
# DASHBOARD       true; false if Ray is installed without `ray[default]`
# DASHBOARD_HOST  127.0.0.1; the dashboard can run code, so use another address only behind a firewall
# DASHBOARD_PORT  8265
# and those of ray-node.sh
set -eu
# shellcheck source=docker/ray-node.sh
. "$(dirname "$0")/ray-node.sh"
exec ray start --head --block --port "${RAY_PORT:-6379}" \
  --include-dashboard "${DASHBOARD:-true}" \
  --dashboard-host "${DASHBOARD_HOST:-127.0.0.1}" --dashboard-port "${DASHBOARD_PORT:-8265}" \
  "$@"
