"""What is set right, or refused, before MPI is loaded."""

import errno

import pytest

from dbmpi.comm import scarcity
from dbmpi.errors import UserError
from dbmpi.run.start import launch, shared_memory, surroundings


def test_a_home_and_a_place_for_temporary_files_are_provided(tmp_path):
    env = {"TMPDIR": str(tmp_path / "nowhere"), "TMP": str(tmp_path)}
    (text,) = surroundings.settle(env)
    assert "TMPDIR = " in text and env.keys() == {"HOME", "TMP"}
    assert surroundings.settle(env) == []


@pytest.mark.parametrize(
    "free, ranks, told",
    [
        (64 << 20, 4, {}),
        (64 << 20, 8, {"OMPI_MCA_btl_sm_segment_size": str(4 << 20)}),
        (20 << 20, 3, {"OMPI_MCA_btl_sm_segment_size": str(2 << 20)}),
        (20 << 20, 8, {"OMPI_MCA_btl_sm_backing_directory": shared_memory.tempfile.gettempdir()}),
    ],
)
def test_open_mpi_shares_what_there_is_room_for(monkeypatch, free, ranks, told):
    rooms = {shared_memory.SHARED: free}
    monkeypatch.setattr(shared_memory, "free_bytes", lambda path: rooms.get(path, 1 << 40))
    before = {"OMPI_COMM_WORLD_LOCAL_SIZE": str(ranks)}
    env = dict(before)
    warnings = shared_memory.provide(env)
    assert env == before | told and bool(warnings) == ("OMPI_MCA_btl_sm_backing_directory" in told)
    assert shared_memory.provide(env) == [] or free == 64 << 20


def test_mpich_without_room_is_refused(monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda path: 16 << 20)
    assert shared_memory.provide({"MPI_LOCALNRANKS": "2"}) == []
    with pytest.raises(UserError, match=r"17 MB free, and the 4 ranks of MPICH .* 25 MB: remove what killed"):
        shared_memory.provide({"MPI_LOCALNRANKS": "4"})


@pytest.mark.parametrize(
    "error, what",
    [
        (
            MemoryError("Unable to allocate 8 GiB"),
            "too little memory: Unable to allocate 8 GiB; use fewer ranks",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "too little open files: "),
        (RuntimeError("can't start new thread"), "too little threads: "),
        (OSError(errno.ENOENT, "No such file"), None),
        (RuntimeError("another"), None),
    ],
)
def test_scarcity_is_one_line(error, what):
    told = scarcity.lacking(error)
    assert told is None if what is None else told.startswith(what) and "\n" not in told
    with pytest.raises(type(error) if what is None else UserError), surroundings.scarcity():
        raise error


def test_a_node_is_told_of_by_its_first_process():
    assert launch.local_rank({"OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}) == 0
    assert launch.local_rank({"PMI_RANK": "4"}) == 4 and launch.local_rank({}) == 0


def test_fewer_threads_are_used_where_no_more_can_be_started(monkeypatch):
    monkeypatch.setattr(surroundings, "startable", lambda threads: threads <= 5)
    assert surroundings.possible_threads(1, True) == (1, [])
    assert surroundings.possible_threads(2, True)[0] == 1
    with pytest.raises(UserError, match="cannot start the 7 threads that it needs: raise the limit"):
        surroundings.possible_threads(2, False)


@pytest.mark.parametrize(
    "name", ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_FD", "SLURM_PROCID", "OTHER_RANK"]
)
def test_a_launcher_is_known_by_its_variables(name):
    assert launch.launched({name: "0"}) and not launch.launched({"OMPI_MCA_btl": "self", "MPI_HOME": "/opt"})
