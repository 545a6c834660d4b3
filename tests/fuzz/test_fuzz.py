"""Readers refuse what they cannot use: a few of the cases of `make fuzz` (see run.py)."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import DataObject, data
from inputs import inputs, of
from run import SHARES
from targets import TARGETS, accepts


@pytest.mark.parametrize("target", TARGETS)
def test_whole_files_are_taken(target: str) -> None:
    assert all(accepts(target, content) for content in of(target).seeds)


@pytest.mark.parametrize("target", TARGETS)
@seed(0)
@settings(
    max_examples=25,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(drawn=data())
def test_hostile_files_are_refused_or_taken(target: str, drawn: DataObject) -> None:
    accepts(target, drawn.draw(inputs(target)))


def test_every_target_has_its_share() -> None:
    assert SHARES.keys() >= TARGETS.keys()
