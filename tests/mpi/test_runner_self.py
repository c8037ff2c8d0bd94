"""What every MPI test relies on: the world has the ranks asked for, and communicators of its own."""

import pytest


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_world_has_one_of_the_sizes_asked_for(comm):
    assert comm.size in (1, 2, 3)
    assert comm.allgather(comm.rank) == list(range(comm.size))


@pytest.mark.mpi(ranks=2)
def test_messages_of_one_test_do_not_reach_the_next(comm):
    # Sent and never received: the next test's communicator must not see it.
    comm.isend("stray", dest=(comm.rank + 1) % comm.size, tag=7).Wait()
    comm.Barrier()


@pytest.mark.mpi(ranks=2)
def test_no_stray_message_is_here(comm):
    comm.Barrier()
    assert not comm.iprobe(tag=7)


@pytest.mark.mpi(ranks=2)
def test_communicator_is_not_the_world(comm):
    from mpi4py import MPI

    assert MPI.Comm.Compare(comm, MPI.COMM_WORLD) == MPI.CONGRUENT
