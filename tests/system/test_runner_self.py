"""Proofs that the test runner reports what it must: each runs a small inner pass that is wrong in one way."""

import shutil
import textwrap
import time

import pytest

from tests import runner

pytestmark = pytest.mark.both_mpis


@pytest.fixture
def inner(tmp_path, environment):
    """Return inner(source, timeout_s): runs the tests in `source` as MPI passes of their own."""

    def run(source: str, timeout_s: float = 60.0) -> list[runner.Result]:
        directory = tmp_path / "mpi"
        directory.mkdir()
        shutil.copy(runner.ROOT / "tests" / "conftest.py", tmp_path)
        shutil.copy(runner.ROOT / "tests" / "mpi" / "conftest.py", directory)
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = mpi: ranks\n")
        (directory / "test_inner.py").write_text("import os, time, pytest\n" + textwrap.dedent(source))
        results = runner.mpi_passes([environment], [], directory, timeout_s, capture=True)
        for result in results:
            print(result.name, result, *result.problems, sep="\n")
        return results

    return run


def test_failure_on_one_rank_fails_all_and_they_stay_in_step(inner, tmp_path):
    [result] = inner(f"""
        @pytest.mark.mpi(ranks=3)
        def test_rank_two_fails(comm):
            assert comm.rank != 2, "only here"

        @pytest.mark.mpi(ranks=3)
        def test_goes_on(comm, request):
            assert comm.allreduce(1) == 3
            with open(f"{tmp_path}/failed-{{comm.rank}}", "w") as file:
                file.write(str(request.session.testsfailed))
        """)
    assert (result.passed, result.failed, result.skipped) == (1, 1, 0)
    assert "[rank 2: failed]" in result.problems[-1] and "only here" in result.problems[-1]
    assert [(tmp_path / f"failed-{rank}").read_text() for rank in range(3)] == ["1", "1", "1"]


def test_failure_in_set_up_on_one_rank_runs_the_test_on_none(inner, tmp_path):
    [result] = inner(f"""
        @pytest.fixture
        def broken(comm):
            assert comm.rank != 1

        @pytest.mark.mpi(ranks=2)
        def test_never_runs(broken, comm):
            open(f"{tmp_path}/ran-{{comm.rank}}", "w")

        @pytest.mark.mpi(ranks=2)
        def test_goes_on(comm):
            comm.Barrier()
        """)
    assert (result.passed, result.failed) == (1, 1)
    assert not list(tmp_path.glob("ran-*"))


def test_ranks_that_disagree_whether_to_skip_are_a_failure(inner):
    [result] = inner("""
        @pytest.mark.mpi(ranks=2)
        def test_skipped_on_one(comm):
            if comm.rank:
                pytest.skip("only here")

        @pytest.mark.mpi(ranks=2)
        def test_skipped_on_all(comm):
            pytest.skip("everywhere")
        """)
    assert (result.passed, result.failed, result.skipped) == (0, 1, 1)


def test_hang_ends_with_the_stacks_and_no_process_left(inner):
    started = time.monotonic()
    [result] = inner("""
        @pytest.mark.mpi(ranks=2)
        def test_passes(comm):
            pass

        @pytest.mark.mpi(ranks=2, timeout_s=0.5)
        def test_hangs(comm):
            assert comm.rank == 0, "why the other waits"
            comm.recv(source=1)

        @pytest.mark.mpi(ranks=2)
        def test_is_not_reached(comm):
            pass
        """)
    output = result.problems[-1]
    assert time.monotonic() - started < 30
    assert (result.passed, result.failed) == (1, 2)
    assert "in test_hangs" in output and "did not end in 0.5 s" in output and "why the other waits" in output
    assert not any("left processes" in problem for problem in result.problems)


def test_rank_that_never_reaches_a_test_is_ended_by_the_deadline(inner):
    started = time.monotonic()
    [result] = inner(
        """
        if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == "1":
            time.sleep(1000)

        @pytest.mark.mpi(ranks=2)
        def test_never_runs(comm):
            pass
        """,
        timeout_s=3,
    )
    assert time.monotonic() - started < 30
    assert result.passed == 0 and result.failed >= 1
    assert any("ended by its deadline" in problem for problem in result.problems)


def test_rank_that_leaves_in_the_middle_fails_the_rest(inner):
    [result] = inner("""
        @pytest.mark.mpi(ranks=2)
        def test_leaves(comm):
            os._exit(0 if comm.rank else 0)

        @pytest.mark.mpi(ranks=2)
        def test_is_not_reached(comm):
            pass
        """)
    assert (result.passed, result.failed) == (0, 2)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "collected no test"),
        ("def test_without_ranks(): pass", "no pass would run it"),
        ("@pytest.mark.mpi(ranks=[])\ndef test_for_no_ranks(): pass", "no pass would run it"),
        ("import does_not_exist\ndef test_lost(): pass", "does_not_exist"),
    ],
)
def test_pass_without_a_test_is_an_error(inner, source, says):
    [result] = inner(source)
    assert result.failed == 1 and result.passed == 0
    assert says in "\n".join(result.problems)


def test_every_rank_count_has_its_pass(inner):
    results = inner("""
        @pytest.mark.mpi(ranks=[1, 3])
        def test_one_and_three(comm):
            assert comm.size in (1, 3)

        @pytest.mark.mpi(ranks=2)
        def test_two(comm):
            assert comm.size == 2
        """)
    assert [(result.passed, result.failed) for result in results] == [(1, 0)] * 3
