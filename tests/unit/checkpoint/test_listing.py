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
