# Sourced by each .sbatch file: `. run.sh ALGORITHM [CONFIG.toml] [options of dbmpi.train]`. Runs the program
# on the ranks of the job, hands it the signal that warns of its end, and decides what becomes of the job.
set -u

say() { echo "slurm/run.sh: $(date +%T) $*"; }

# mpirun hands SIGUSR1 on to every rank. It may be late: a job whose time is up does not go back to the queue.
warned() {
    say "told to stop"
    asked=yes
    [ -n "$mpirun" ] || return 0
    deadline=${deadline:-$((SECONDS + STOP_WITHIN_S))}
    kill -USR1 "$mpirun"
}

requeue() {
    say "$1: back into the queue"
    scontrol requeue "$SLURM_JOB_ID" || exit 85     # submitted with --no-requeue
    sleep 60                                        # until Slurm ends this shell
    exit 85
}

# A run that comes no further must not go round for ever. The file also tells when this job was started.
count_restarts() {
    local tries=0 before='' newest
    newest=$(ls "$RUN_DIR/checkpoints" 2>/dev/null | tail -n 1)
    if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -e "$restarts" ]; then
        read -r tries before <"$restarts"
        [ "$newest" = "$before" ] && tries=$((tries + 1)) || tries=0
    fi
    if [ "$tries" -gt "$MAX_IDLE_RESTARTS" ]; then
        say "no new checkpoint in $tries restarts: that is enough"
        exit 1
    fi
    echo "$tries $newest" >"$restarts"
}

# Copy the data file to every node; where that fails it is read where it is.
stage() {
    local from to=$NODE_SCRATCH/dbmpi-$SLURM_JOB_ID.h5
    from=$("$PYTHON" -m dbmpi.train "${arguments[@]}" --print-config | sed -n 's/^path = "\(.*\)"$/\1/p')
    [ -f "$from" ] || return 0                      # "digits" is in the package
    on_every_node 60 mkdir -p "$NODE_SCRATCH" && sbcast --force "$from" "$to" || return 0
    say "$from copied to $to on $SLURM_JOB_NUM_NODES nodes"
    staged=$to
    arguments+=(--set "data.path=$staged")
}

# The sum of Slurm's notation: 8(x3),4 is 28.
room() {
    local part times sum=0
    for part in ${1//,/ }; do
        case $part in *x*) times=${part##*x} ;; *) times=1 ;; esac
        sum=$((sum + ${part%%(*} * ${times%)}))
    done
    echo "$sum"
}

on_every_node() {                                   # SECONDS COMMAND...
    timeout "$1" srun --overlap --mpi=none -N "$SLURM_JOB_NUM_NODES" -n "$SLURM_JOB_NUM_NODES" "${@:2}"
}

# Wait for mpirun, but not for ever: it may hang when ranks or daemons are gone.
follow() {
    while kill -0 "$mpirun" 2>/dev/null; do
        sleep 1 &
        wait $!                                     # unlike `sleep` itself, a signal interrupts this
        [ "$RUN_DIR/finished" -nt "$restarts" ] && deadline=${deadline:-$((SECONDS + LEAVE_WITHIN_S))}
        if [ -n "$deadline" ] && [ "$SECONDS" -gt "$deadline" ]; then
            say "mpirun does not end: killed"
            kill -KILL "$mpirun"
        fi
    done
    wait "$mpirun"
    status=$?
}

# The file decides, not mpirun's status, which is 0 when it has lost a node.
decide() {
    say "mpirun ended with status $status"
    if [ ! -e "$RUN_DIR/finished" ] && [ "$status" = 0 ] && [ -e "$RUN_DIR/run.json" ]; then
        requeue "lost a node"                       # so nothing can be run on every node now
    fi
    [ -z "$staged" ] || on_every_node 10 rm -f "$staged"
    [ "$status" != 87 ] || exit 87                  # another job has the directory now, and what is there
    if [ -e "$RUN_DIR/finished" ]; then
        case $(cat "$RUN_DIR/finished") in diverged | failed) exit 3 ;; esac
        exit 0
    fi
    case $status in 2 | 3 | 86) exit "$status" ;; esac   # no restart would mend it
    [ "$status" != 85 ] || requeue "stopped before its end"
    [ -z "$asked" ] || requeue "stopped without a checkpoint of this moment"
    [ ! -e "$RUN_DIR/run.json" ] || on_every_node 10 true || requeue "a node does not answer"
    exit "$((status ? status : 1))"
}

mpirun='' asked='' deadline='' staged=''
trap warned USR1

algorithm=$1
shift
RUN_DIR=${RUN_DIR:-runs/$SLURM_JOB_NAME-$SLURM_JOB_ID}
RANKS=${SLURM_NTASKS:-$(room "$SLURM_TASKS_PER_NODE")}
CORES=${SLURM_CPUS_PER_TASK:-1}
set +u                                          # modules and virtual environments may not bear it
. "${BASH_SOURCE[0]%/*}/site.sh"
set -u
restarts=$RUN_DIR/slurm-restarts
arguments=("$@" --set "train.algorithm=$algorithm" --run-dir "$RUN_DIR" --wait)

say "job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}: $RANKS ranks on $SLURM_JOB_NODELIST, in $RUN_DIR"
mkdir -p "$RUN_DIR" || exit 2
count_restarts
export HOME="${HOME:-${TMPDIR:-/tmp}}"  # Open MPI does not start without one
[ -z "$NODE_SCRATCH" ] || export NUMBA_CACHE_DIR="$NODE_SCRATCH/dbmpi-kernels"
[ "$STAGE_DATA" != yes ] || stage
[ -z "$asked" ] || requeue "stopped before it began"
"${MPIRUN[@]}" "$PYTHON" -m dbmpi.train "${arguments[@]}" &
mpirun=$!
[ -z "$asked" ] || warned                       # it was just now, before the line above
follow
decide
