"""Variables of a launcher that is gone are told from those of one that is there."""

import os
import socket

import pytest

from dbmpi.comm import ancestry
from dbmpi.run.start import stale_variables

KEPT = {"HOME": "/root", "RANK": "3"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}


@pytest.fixture
def alone(monkeypatch):
    """Let no launcher be above this process."""
    monkeypatch.setattr(ancestry, "unlaunched", lambda: True)
    monkeypatch.setattr(stale_variables, "forgotten", [])


@pytest.fixture
def port():
    """Yield the number of a port that is listened to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def forget(**env):
    """Return what is left of variables, beside `KEPT`."""
    variables = KEPT | env
    stale_variables.forget(variables)
    assert KEPT.items() <= variables.items()
    return {name: value for name, value in variables.items() if name not in KEPT}


def test_a_rank_without_a_launcher_is_forgotten(alone):
    assert forget(**OPEN_MPI) == forget(PMI_RANK="2", PMI_FD="9999") == {}
    assert forget(PMIX_RANK="1", PMIX_SERVER_URI41="prterun-1@1;tcp4://127.0.0.1:1") == {}
    (said,) = stale_variables.warnings()
    assert said.startswith("OMPI_COMM_WORLD_RANK and ")


def test_a_launcher_that_can_be_reached_is_not(alone, port):
    for sign in (
        {"PMIX_SERVER_URI2": f"prterun-1@1;tcp4://127.0.0.1:{port}"},
        {"PMIX_SERVER_URI2": "what is this"},
        {"PMI_PORT": f"127.0.0.1:{port}"},
        {"PALS_RANKID": "1"},
    ):
        assert forget(**OPEN_MPI, **sign) == OPEN_MPI | sign
    one, other = socket.socketpair()
    with one, other:
        assert forget(PMI_RANK="1", PMI_FD=str(one.fileno()))
    assert stale_variables.warnings() == []


def test_nor_one_that_this_process_descends_from(alone, monkeypatch):
    monkeypatch.setattr(ancestry, "unlaunched", lambda: False)
    assert forget(**OPEN_MPI) == OPEN_MPI


def test_what_cannot_be_seen_is_no_proof(tmp_path):
    assert not ancestry.unlaunched(os.getpid(), tmp_path)
