"""Each fault once, and all of them with all seeds where there is time for it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import FAULTS, Place, prepare, tried

ONCE = [fault for fault in FAULTS if fault.__name__ not in ("worker_killed", "no_memory")]
"""Faults that take a second or so."""


@pytest.fixture(scope="module", params=[False])
def whole(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "whole").mkdir()
        return prepare(folder / "whole", study=request.param)


@pytest.fixture(autouse=True)
def cache_of_the_faults(whole: tuple[Path, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(whole[0].parent / "cache"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.filterwarnings("ignore")  # of broken files, which are the point
@pytest.mark.parametrize("fault", ONCE, ids=lambda fault: fault.__name__)
def test_what_befalls_is_survived(fault: Callable[[Place], str], whole: tuple[Path, float]) -> None:
    assert tried(fault, 0, *whole)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True], indirect=True)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_whatever_befalls_is_survived(
    fault: Callable[[Place], str], whole: tuple[Path, float]
) -> None:
    for seed in range(FAULTS[fault]):
        assert tried(fault, seed, *whole), seed
