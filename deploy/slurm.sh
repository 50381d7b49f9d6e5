#!/bin/bash
# A Ray cluster that lives as long as this job, and an experiment on it. From the project's directory,
# whose machine.yaml says `cluster: {address: auto}`:
#     sbatch deploy/slurm.sh star_gate
#SBATCH --job-name=stargate
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=240G
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
set -euo pipefail

# source .venv/bin/activate   # the same on every node

nodes=$SLURM_JOB_NUM_NODES
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))  # two jobs that share a node do not meet
export RAY_ADDRESS=$ip:$port RAY_USAGE_STATS_ENABLED=0 SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')  # known in this job alone
size=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block)

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$ip" --port="$port" --include-dashboard=false "${size[@]}" &
until (: >"/dev/tcp/$ip/$port") 2>/dev/null; do sleep 1; done
if ((nodes > 1)); then
    srun --overlap --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" \
        ray start --address="$RAY_ADDRESS" "${size[@]}" &
fi
python - "$nodes" <<'END'
import sys, time, ray
ray.init(log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(1)
END

stargate run "$@"
