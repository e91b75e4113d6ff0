#!/bin/sh
# Sourced by the other ray-*.sh: what every node of a Ray cluster is told, left in "$@".
#
# NODE_IP             address that other nodes reach it by; unset: Ray finds it
# NODE_CPUS           CPUs that it offers; unset: all
# NODE_GPUS           GPUs that it offers; unset: all
# OBJECT_STORE_BYTES  shared memory for objects; unset: a share of the memory
# RAY_TEMP            folder of its session; unset: /tmp/ray. Short: socket paths end at 107 characters.
#                     Yours alone; made where it is missing
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
if [ -n "${RAY_TEMP:-}" ]; then
  # Ray opens its own folder to all; the one around it stays shut. In /tmp anybody may have made it before.
  mkdir -p -m 700 "${RAY_TEMP}" || exit 2
  if [ "$(stat -c %u "${RAY_TEMP}")" != "$(id -u)" ]; then
    echo "$(basename "$0"): RAY_TEMP=${RAY_TEMP} must be yours, it is $(stat -c %U "${RAY_TEMP}")'s; name another" >&2
    exit 2
  fi
  set -- "$@" --temp-dir "${RAY_TEMP}/ray"
fi
