#!/bin/sh
# Sourced by the other ray-*.sh: what every node of a Ray cluster is told, left in "$@".
#
# NODE_IP             address that other nodes reach it by; unset: Ray finds it
# NODE_CPUS           CPUs that it offers; unset: all
# NODE_GPUS           GPUs that it offers; unset: all
# OBJECT_STORE_BYTES  shared memory for objects; unset: a share of the memory
# RAY_TEMP            folder of its session; unset: /tmp/ray. Short: socket paths end at 107 characters
if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ -z "${RAY_AUTH_TOKEN_PATH:-}" ]; then
  echo "$(basename "$0"): RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH must be set; a Ray cluster runs anybody's code" >&2
  exit 2
fi
export RAY_AUTH_MODE=token
set -- --disable-usage-stats
[ -z "${NODE_IP:-}" ] || set -- "$@" --node-ip-address "${NODE_IP}"
[ -z "${NODE_CPUS:-}" ] || set -- "$@" --num-cpus "${NODE_CPUS}"
[ -z "${NODE_GPUS:-}" ] || set -- "$@" --num-gpus "${NODE_GPUS}"
[ -z "${OBJECT_STORE_BYTES:-}" ] || set -- "$@" --object-store-memory "${OBJECT_STORE_BYTES}"
[ -z "${RAY_TEMP:-}" ] || set -- "$@" --temp-dir "${RAY_TEMP}"
