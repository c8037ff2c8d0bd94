"""`python scripts/diagnose`: what is made and expected. Runs nothing."""

from dbmpi.diagnosis.finding import Finding
from scripts.diagnose.runs import said
from scripts.diagnose.scenarios import GROUPS
from scripts.diagnose.sets import MAKERS


def test_each_ill_is_tried_at_four_strengths_and_there_are_five_healthy_runs_at_least():
    made = {name: group() for name, group in GROUPS.items()}
    ills = [name for name in made if name not in ("combined", "healthy")]
    assert len(ills) == 6 and all(len(made[name]) == 4 for name in ills)
    assert len(made["combined"]) >= 2 and len(made["healthy"]) >= 5
    assert all(one.data in MAKERS for group in made.values() for one in group)
    assert not [one for one in made["healthy"] if one.expected]


def test_what_is_said_is_the_alarms_the_worst_first():
    found = [Finding("rate", "bad", "."), Finding("rate", "warning", "."), Finding("cores", "warning", ".")]
    assert said([*found, Finding("input", "good", ".")]) == {"rate": "bad", "cores": "warning"}
