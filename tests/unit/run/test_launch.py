"""What the launcher says, and what follows for threads."""

from typing import Any

import pytest

from dbmpi.errors import UserError
from dbmpi.run.start.launch import (
    check_world,
    env_rank,
    launcher_size,
    resolve_overlap,
    resolve_threads,
    thread_environment,
    thread_reason,
    thread_warnings,
)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "8"}, ("OMPI_COMM_WORLD_SIZE", 8)),
        ({"PMI_SIZE": "4", "SLURM_NTASKS": "64"}, ("PMI_SIZE", 4)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "SLURM_NTASKS": "64"}, ("OMPI_COMM_WORLD_SIZE", 1)),
        ({"SLURM_NTASKS": "64"}, ("SLURM_NTASKS", 64)),
        ({"PMI_SIZE": "", "SLURM_NTASKS": "8(x2)"}, None),
        ({"PMI_SIZE": "-3"}, None),
    ],
)
def test_the_launcher_closest_to_the_program_is_believed(
    env: dict[str, str], said: tuple[str, int] | None
) -> None:
    assert launcher_size(env) == said


def test_ranks_come_from_the_launcher() -> None:
    assert env_rank({}) == 0
    assert env_rank({"OMPI_COMM_WORLD_RANK": "3", "SLURM_PROCID": "9"}) == 3
    assert env_rank({"PMI_RANK": "2"}) == 2
    assert env_rank({"SLURM_PROCID": "5"}) == 5


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"])
def test_singletons_are_found_and_explained(variable: str) -> None:
    with pytest.raises(UserError) as caught:
        check_world({variable: "8"}, 1)
    text = str(caught.value)
    for part in [
        f"{variable} = 8",
        "size 1",
        "MPI.Get_library_version()",
        "--mpi=pmix",
        "--mpi=pmi2",
        f"{variable}=1 python -m dbmpi.train",
    ]:
        assert part in text


def test_worlds_that_are_right_pass() -> None:
    check_world({}, 1)
    check_world({"SLURM_NTASKS": "1"}, 1)
    check_world({"SLURM_NTASKS": "64"}, 8)  # mpirun -n 8 inside an allocation of 64
    check_world({"OMPI_COMM_WORLD_SIZE": "1", "SLURM_NTASKS": "64"}, 1)


def test_blas_gets_the_threads_and_no_other_pool_any() -> None:
    env = thread_environment(3)
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS"):
        assert env[f"{library}_NUM_THREADS"] == "3"
    assert env["NUMBA_NUM_THREADS"] == "1" and env["NUMBA_THREADING_LAYER"] == "workqueue"
    assert env["GOMP_SPINCOUNT"] == env["KMP_BLOCKTIME"] == "0" and env["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((5, 1, 8, 2), "5 (cluster.threads)"),
        (("auto", 2, 1, 2), "2 (auto: 1 rank on a node with 2 cores for them)"),
        (("auto", 1, 4, 64), "1 (auto: 4 ranks on a node with 64 cores for them, each bound to 1)"),
    ],
)
def test_the_number_of_threads_has_a_reason(given: tuple[Any, ...], reason: str) -> None:
    assert thread_reason(*given) == reason


@pytest.mark.parametrize(
    ("setting", "available", "ranks", "cores", "threads"),
    [
        (5, 1, 8, 2, 5),
        ("auto", 1, 4, 64, 1),  # bound to a core
        ("auto", 8, 4, 64, 8),  # bound to 8
        ("auto", 32, 8, 64, 8),  # four ranks bound to the same half of the machine
        ("auto", 64, 4, 64, 16),  # not bound
        ("auto", 2, 8, 2, 1),  # more ranks than cores
        ("auto", 2, 1, 2, 2),
    ],
)
def test_threads(setting: int, available: int, ranks: int, cores: int, threads: int) -> None:
    assert resolve_threads(setting, available, ranks, cores) == threads


def test_automatic_threads_never_bring_a_warning_where_there_is_a_core_for_each_rank() -> None:
    for cores in (1, 2, 7, 64):
        for ranks in range(1, cores + 1):
            for available in range(1, cores + 1):
                threads = resolve_threads("auto", available, ranks, cores)
                assert thread_warnings(threads, available, ranks, cores) == []


def test_a_core_bound_to_many_threads_is_warned_about() -> None:
    (warning,) = thread_warnings(4, 1, 2, 64)
    for part in ["one core bound to many threads", "4 threads", "--bind-to none", "--map-by slot:PE=4"]:
        assert part in warning


def test_more_threads_than_cores_are_warned_about() -> None:
    (warning,) = thread_warnings(4, 8, 4, 8)
    assert "more threads than cores" in warning and "cluster.threads=2" in warning
    (warning,) = thread_warnings(1, 2, 6, 2, others=2)
    assert "6 ranks x 1 thread compute" in warning and "cluster.threads" not in warning
    assert "start at most 4 ranks on a node" in warning
    assert thread_warnings(1, 2, 2, 2, others=2) == []


def test_ranks_that_sleep_need_no_core() -> None:
    """A coordinator, a shard and a replica on 2 cores are the least there can be, and no fault."""
    assert thread_warnings(1, 2, 1, 2, others=2) == []


@pytest.mark.parametrize(
    ("setting", "replicas", "nodes", "ranks", "cores", "expected"),
    [
        ("auto", 1, 2, 3, 64, False),  # repeats from its seed
        ("auto", 2, 2, 4, 2, True),
        ("auto", 2, 1, 4, 2, False),  # one memory
        ("auto", 4, 2, 7, 2, True),
        ("auto", 28, 2, 64, 2, False),  # others use the core
        (True, 1, 1, 64, 2, True),
        (False, 8, 2, 8, 8, False),
    ],
)
def test_overlap_suits_replicas_nodes_and_cores(setting, replicas, nodes, ranks, cores, expected):
    assert resolve_overlap(setting, replicas, nodes, ranks, cores) is expected
