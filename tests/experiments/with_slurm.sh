#!/bin/sh
# Runs a command with a Slurm of one node, started for it and stopped after it, all in a temporary
# folder; needs root and Debian's slurm-wlm and munge, but no service.
#   tests/experiments/with_slurm.sh build/dev/tests/test_experiments -tc="a Slurm*"
set -eu
for program in slurmctld slurmd munged sbatch; do
  if [ "$(id -u)" -ne 0 ] || ! command -v $program > /dev/null; then
    echo "skipped: needs root, slurm-wlm and munge"
    exit 0
  fi
done
folder=$(mktemp -d)
host=$(hostname -s)
stop() {
  for daemon in slurmd slurmctld munged; do
    if [ -e "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")" || true; fi
  done
  sleep 1
  rm -rf "$folder"
}
trap stop EXIT
mkdir "$folder/state" "$folder/spool"
head -c 128 /dev/urandom > "$folder/key"
chmod 400 "$folder/key"
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
munged --key-file="$folder/key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" --force
slurmctld
slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if sinfo -h -t idle | grep -q idle; then break; fi
  sleep 1
done
"$@"
