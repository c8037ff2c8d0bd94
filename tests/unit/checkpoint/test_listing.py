"""What a user sees of the checkpoints of a run."""

import pytest

from dbmpi.checkpoint import listing
from tests.doubles.checkpoints import save, seal_again

SYNC = '[train]\nalgorithm = "sync"\n'


@pytest.mark.parametrize(
    "configuration, named", [(SYNC, "sync"), ("not TOML", "downpour"), ("[train]\n", "downpour")]
)
def test_rounds_are_listed_by_their_name(tmp_path, capsys, configuration, named):
    """Their state is that of Downpour."""
    seal_again(save(tmp_path, 1), lambda content: content.update(configuration=configuration))
    assert listing.main([str(tmp_path)]) == 0
    assert f" {named} " in capsys.readouterr().out


def test_a_name_that_is_no_run_leads_to_one_that_is(tmp_path, capsys):
    run = tmp_path / "runs" / "digits-1"
    save(run, 1)
    (tmp_path / "runs" / "empty").mkdir()
    wrong = ["runs", "runs/digits", "runs/digits-1/checkpoints", "runs/digits-1/checkpoints/000001"]
    for name in wrong:
        assert listing.main([str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert str(run) in said.split(), said
    assert listing.main([str(tmp_path / "runs" / "empty")]) == 2
    assert "empty/checkpoints has no checkpoints" in capsys.readouterr().err
    assert listing.main([str(run)]) == 0
