#!/usr/bin/env bash
# Start a Ray cluster within one allocation, and run one command of hybrid-search on it. To resume, run the same line again:
#   sbatch docker/slurm.sh sweep my-study.yaml
#   sbatch --nodes=8 --gpus-per-node=4 docker/slurm.sh sweep my-study.yaml --set resources.gpus=0.5
# The first node is head and worker, the others are workers; the study's storage must be a folder that all of them share.
#
# HYBRID_SEARCH_HOME  this repository; unset: the folder of `sbatch`. Its .venv is used if it exists
# REQUEUE             1: at the time limit, queue again and continue
# RAY_TEMP            folder of each node for Ray's session, owned by you; unset: /tmp/ray-JOB
# HEAD_IP             address of the first node in the nodes' own network; unset: its first one
#SBATCH --job-name=hybrid-search
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --output=hybrid-search-%j.log
set -euo pipefail
: "${SLURM_JOB_ID:?submit it with sbatch}"
[ "$#" -gt 0 ] || set -- --help
home="${HYBRID_SEARCH_HOME:-${SLURM_SUBMIT_DIR}}"
parts="${home}/docker"
[ -f "${parts}/ray-head.sh" ] || { echo "slurm.sh: no ${parts}/ray-head.sh; set HYBRID_SEARCH_HOME" >&2; exit 2; }
# shellcheck source=/dev/null
[ ! -f "${home}/.venv/bin/activate" ] || . "${home}/.venv/bin/activate"

# Other jobs may be on these nodes: ports, folders and the token are this job's own; no command line shows the token.
umask 077
token="${HOME}/.ray/hybrid-search-${SLURM_JOB_ID}.token"
mkdir -p "${token%/*}"
python3 -c "import secrets; print(secrets.token_hex(32))" >"${token}"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="${token}"
export RAY_PORT=$((20000 + SLURM_JOB_ID % 10000)) DASHBOARD_PORT=$((30000 + SLURM_JOB_ID % 10000))
export RAY_TEMP="${RAY_TEMP:-/tmp/ray-${SLURM_JOB_ID}}"
export NODE_CPUS="${SLURM_CPUS_PER_TASK:-}"
head_ip="${HEAD_IP:-$(hostname -I | cut -d' ' -f1)}"
export RAY_ADDRESS="${head_ip}:${RAY_PORT}"

parts_pids=()
driver=""
ended=""
# Bash runs a trap once the command at hand has ended; `wait` ends at once.
trap 'ended=1; [ -z "${driver}" ] || kill -TERM "${driver}" 2>/dev/null || true' TERM INT
# shellcheck disable=SC2329 # called by the trap
finish() {
  kill "${parts_pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -f "${token}"
}
trap finish EXIT

on_node() { # NAME COMMAND...: one step on one node; losing it costs no other
  local node="$1"
  shift
  srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --nodelist="${node}" "$@" &
  parts_pids+=("$!")
}

mapfile -t nodes < <(scontrol show hostnames "${SLURM_JOB_NODELIST}")
on_node "${nodes[0]}" env NODE_IP="${head_ip}" "${parts}/ray-head.sh"
for _ in $(seq 60); do
  "${parts}/healthy.sh" >/dev/null 2>&1 && break
  [ -z "${ended}" ] || exit 130
  kill -0 "${parts_pids[0]}" 2>/dev/null || { echo "slurm.sh: the Ray head on ${nodes[0]} ended" >&2; exit 1; }
  sleep 2
done
for node in "${nodes[@]:1}"; do
  on_node "${node}" "${parts}/ray-worker.sh"
done
echo "slurm.sh: ${#nodes[@]} node(s), head ${RAY_ADDRESS}; dashboard on ${nodes[0]}, loopback:${DASHBOARD_PORT}"

case "$1" in
  sweep | compare | reproduce) set -- "$@" --set "resources.address=${RAY_ADDRESS}" ;;
esac
[ -z "${ended}" ] || exit 130
hybrid-search "$@" &
driver=$!
while kill -0 "${driver}" 2>/dev/null; do
  wait "${driver}" || true # after SIGTERM, the driver has time to save
done
code=0
wait "${driver}" || code=$?
if [ -n "${ended}" ] && [ "${REQUEUE:-0}" = 1 ]; then
  scontrol requeue "${SLURM_JOB_ID}"
fi
exit "${code}"
