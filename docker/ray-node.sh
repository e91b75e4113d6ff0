#!/bin/sh
# Sourced by the other ray-*.sh: puts the options of every node of a Ray cluster into "$@".
#
# NODE_IP             address for the other nodes; unset: Ray finds it
# NODE_CPUS           CPUs that it offers; unset: all
# NODE_GPUS           GPUs that it offers; unset: all
# OBJECT_STORE_BYTES  shared memory for objects; unset: a share of the memory
# RAY_TEMP            folder of its session; unset: /tmp/ray. Short: socket paths end at 107 characters.
#                     Must belong to you; created if missing
if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ -z "${RAY_AUTH_TOKEN_PATH:-}" ]; then
  echo "$(basename "$0"): RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH must be set; without a token anybody can run code on a Ray cluster" >&2
  exit 2
fi
export RAY_AUTH_MODE=token
set -- --disable-usage-stats
[ -z "${NODE_IP:-}" ] || set -- "$@" --node-ip-address "${NODE_IP}"
[ -z "${NODE_CPUS:-}" ] || set -- "$@" --num-cpus "${NODE_CPUS}"
[ -z "${NODE_GPUS:-}" ] || set -- "$@" --num-gpus "${NODE_GPUS}"
[ -z "${OBJECT_STORE_BYTES:-}" ] || set -- "$@" --object-store-memory "${OBJECT_STORE_BYTES}"
if [ -n "${RAY_TEMP:-}" ]; then
  # Ray makes its own folder accessible to all users; its parent stays private. In /tmp another user may have created it.
  mkdir -p -m 700 "${RAY_TEMP}" || exit 2
  if [ "$(stat -c %u "${RAY_TEMP}")" != "$(id -u)" ]; then
    echo "$(basename "$0"): RAY_TEMP=${RAY_TEMP} must belong to you, but belongs to $(stat -c %U "${RAY_TEMP}"); choose another folder" >&2
    exit 2
  fi
  set -- "$@" --temp-dir "${RAY_TEMP}/ray"
fi
