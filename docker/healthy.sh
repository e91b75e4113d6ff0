#!/bin/sh
# Health check: a node reaches the head of its Ray cluster; with `healthy.sh mlflow`, the server answers. A node that has
# lost Ray ends by itself.
set -eu
if [ "${1:-ray}" = mlflow ]; then
  exec python -c "import os, urllib.request
urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('MLFLOW_PORT', '5000') + '/health', timeout=10)"
fi
export RAY_AUTH_MODE=token
exec ray health-check --address "${RAY_ADDRESS:?}"
