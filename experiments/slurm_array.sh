#!/bin/sh
# One part of a sweep per task of a Slurm job array:
#   sbatch --array=1-8 --gres=gpu:1 experiments/slurm_array.sh /path/to/fselab sweep.yaml device=hip:0
# Each task writes SWEEP-TASK.db into the folder that sbatch was called in; submitted again, it goes
# on where it was. When all have ended: fselab db merge SWEEP-*.db --into SWEEP.db
#SBATCH --job-name=fselab
#SBATCH --requeue
set -eu
fselab=$1
sweep=$2
shift 2
part=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))
exec "$fselab" run "$sweep" "$@" --shard "$part/$SLURM_ARRAY_TASK_COUNT" \
  --db "$(basename "$sweep" .yaml)-$SLURM_ARRAY_TASK_ID.db"
