#!/usr/bin/env bash
# A real Slurm of one node, started by hand: no systemd, no database. For tests, and for trying a sweep out.
#
#   eval "$(tests/slurm_local.sh up DIR)"    # start it below DIR, and point this shell at it
#   tests/slurm_local.sh down DIR            # stop it
#
# Partitions: `normal`, and `urgent`, whose jobs preempt and requeue those of `normal`.
# Needs: apt-get install --no-install-recommends slurm-wlm munge
set -euo pipefail

usage() {
    echo "usage: $0 up|down DIR" >&2
    exit 2
}

[ $# -eq 2 ] || usage
case $1 in up | down) ;; *) usage ;; esac

PATH=$PATH:/usr/sbin:/sbin  # where Debian keeps the daemons
for program in munged slurmctld slurmd sbatch python3; do
    command -v "$program" >/dev/null || {
        echo "$0: $program is missing: apt-get install --no-install-recommends slurm-wlm munge" >&2
        exit 1
    }
done

stop() {  # a daemon by its pid file; waits until it is gone
    local file=$1 pid
    [ -s "$file" ] || return 0
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$file"
}

down() {
    if [ -s "$dir/slurmctld.pid" ]; then
        SLURM_CONF=$dir/slurm.conf timeout 10 scancel --full --user="$(id -un)" 2>/dev/null || true
    fi
    stop "$dir/slurmd.pid"
    stop "$dir/slurmctld.pid"
    stop "$dir/munged.pid"
}

if [ "$1" = down ]; then
    dir=$(realpath "$2")
    down
    exit
fi

mkdir -p "$2"
dir=$(realpath "$2")
down  # what is left of an earlier one
mkdir -p "$dir/bin" "$dir/state" "$dir/spool" "$dir/munge"
chmod 755 "$dir"
chmod 700 "$dir/munge"

read -r controller_port node_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')
host=$(hostname -s)
cpus=$(getconf _NPROCESSORS_ONLN)  # nproc would heed OMP_NUM_THREADS
memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
user=$(id -un)

(umask 077 && head -c 1024 /dev/urandom >"$dir/munge/key")
cat >"$dir/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
MailProg=/bin/true
# Without systemd there are no control groups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# A job that is told to end has so many seconds to save itself before it is killed.
KillWait=5
# scontrol, and with it sacct below, forgets a job so many seconds after its end.
MinJobAge=86400
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=5,bf_interval=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=3
PartitionName=urgent Nodes=$host MaxTime=INFINITE PriorityTier=10
CONF

# Slurm's own sacct needs a database; a program that waits for a job would never hear of its end without it.
cat >"$dir/bin/sacct" <<'SACCT'
#!/bin/sh
# sacct -o JobID,State,NodeList --parsable2 [-j ID]…, told by scontrol.
ids=
while [ $# -gt 0 ]; do
    [ "$1" = -j ] && { ids="$ids $2"; shift; }
    shift
done
echo 'JobID|State|NodeList'
for id in $ids; do scontrol --oneliner show job "$id" 2>/dev/null; done | awk '
{
    split("", field)
    for (i = 1; i <= NF; i++) if (at = index($i, "=")) field[substr($i, 1, at - 1)] = substr($i, at + 1)
    id = field["JobId"]
    task = field["ArrayTaskId"]
    if (task != "") id = field["ArrayJobId"] "_" (task ~ /^[0-9]+$/ ? task : "[" task "]")
    state = field["JobState"]
    if (state == "CONFIGURING") state = "RUNNING"  # sacct does not tell the two apart
    print id "|" state "|" field["NodeList"]
}'
SACCT
chmod 755 "$dir/bin/sacct"

export SLURM_CONF=$dir/slurm.conf
munged --force --key-file="$dir/munge/key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" --num-threads=2 >"$dir/munged.out" 2>&1 ||
    { cat "$dir/munged.out" >&2; exit 1; }
slurmctld -c -f "$SLURM_CONF" >"$dir/slurmctld.out" 2>&1 || { cat "$dir/slurmctld.out" "$dir/slurmctld.log" >&2; exit 1; }
slurmd -f "$SLURM_CONF" >"$dir/slurmd.out" 2>&1 || { cat "$dir/slurmd.out" "$dir/slurmd.log" >&2; exit 1; }

for _ in $(seq 300); do
    [ "$(sinfo --noheader --partition=normal --format=%T 2>/dev/null)" = idle ] && {
        printf 'export SLURM_CONF=%q PATH=%q:"$PATH"\n' "$SLURM_CONF" "$dir/bin"
        exit 0
    }
    sleep 0.1
done
echo "$0: the node did not come up; see $dir/slurmctld.log and $dir/slurmd.log" >&2
down
exit 1
