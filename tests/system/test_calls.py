"""Some of the runs of `python scripts/chaos every-call`: a file system call fails, a run ends as promised."""

import re

import pytest

from scripts.chaos import calls
from scripts.chaos.failing import preload
from scripts.chaos.failing.laboratory import Laboratory

pytestmark = [
    pytest.mark.beside,
    pytest.mark.skipif(preload.compiler() is None, reason="needs a C compiler: cc or gcc"),
]
# Of each pattern the first run that it is found in.
SOME = [
    r"fresh .* create run/\.owner/000001/\.config\.toml\.tmp .* ENOSPC",
    r"fresh .* write run/metrics\.jsonl .* EIO",
    r"fresh .* write run/\.owner/000001/000001\.part/shard-0000\.h5 .* ENOSPC",
    r"fresh .* write run/\.owner/000001/000002\.part/shard-0000\.h5 .* short",
    r"fresh .* write run/\.owner/000001/000003\.part/index\.h5 .* full",
    r"fresh .* read data [1-9]\d ESTALE",
    r"fresh .* write run/\.owner/000001/\.model\.h5\.tmp .* EIO",
    r"list run/checkpoints 1 EIO",
    r"stat run/model\.h5 1 EIO",
    r"rename run/finished",
    r"resumed .* open run/checkpoints/\d+/shard-0000\.h5 .* EIO",
]


def test_a_run_ends_as_promised_whichever_call_fails(environment, tmp_path):
    known = calls.cases(Laboratory(tmp_path), "serial")
    names = [calls.name_of(one) for one in known]
    chosen = [next(i for i, name in enumerate(names) if re.search(pattern, name)) for pattern in SOME]
    outcomes = list(calls.make([known[one] for one in chosen], jobs=2, talk=True))
    assert len(outcomes) == len(SOME) and all(one.met for one in outcomes)
    assert [f"{one.name}: {one.wrong}" for one in outcomes if one.wrong] == []
