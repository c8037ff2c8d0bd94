# What is particular to a site: the one file to edit. Bash; run.sh reads it when the job has started, and then
# knows RANKS, the number of ranks, and CORES, those of each rank. `docs/slurm.md` explains.

# Python and MPI: the site's modules, a virtual environment, or both.
# module load python openmpi
# . "$HOME/dbmpi-env/bin/activate"
PYTHON=python3

# What starts the ranks, each bound to its own cores; the program starts as many threads as it finds cores.
MPIRUN=(mpirun -n "$RANKS" --map-by "slot:PE=$CORES" --bind-to core)
# MPIRUN=(mpirun -n "$RANKS" --map-by "slot:PE=$CORES:HWTCPUS" --bind-to hwt)     # CPUs are hardware threads
# MPIRUN+=(--mca pml ob1 --mca btl self,sm,tcp)     # Ethernet: do not look for more, which takes a second
# MPIRUN+=(--mca btl_tcp_if_include 10.0.0.0/16)    # Ethernet: the network that connects the nodes
# MPIRUN+=(--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1)     # ULFM: survive the loss of a rank
# MPIRUN=(srun --mpi=pmix -n "$RANKS" -c "$CORES" --cpu-bind=cores)       # without mpirun; no ULFM then

# A directory on each node's own disk that only this user can write to; empty: there is none. Compiled kernels
# are kept in it, else in one that the program makes below /tmp. Should it vanish with the job, each job
# compiles anew, for a minute or so.
NODE_SCRATCH=
# NODE_SCRATCH=${SLURM_TMPDIR:-/scratch/$USER}

# yes: copy the data file to NODE_SCRATCH of every node before training, and read it there.
STAGE_DATA=no

# After a signal the job has so many seconds to write a checkpoint; then it goes back into the queue without.
# Less than in `#SBATCH --signal=B:USR1@60`, as a job whose time is up does not go back at all.
STOP_WITHIN_S=45

# A run that is finished has so many seconds to leave.
LEAVE_WITHIN_S=60

# Go back into the queue at most so many times in a row without a new checkpoint.
MAX_IDLE_RESTARTS=5
