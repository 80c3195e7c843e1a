"""Which detectors an evaluation runs: all, the quick ones, or some by name."""

from __future__ import annotations

import pytest

from detectors.lineup import CONTROLS, DEFAULT, DETECTORS, NEURAL, QUICK
from monitor.contenders import contenders
from monitor.errors import WorkFailed

REST = [kind.name for kind in CONTROLS]


def names(asked: str) -> list[str]:
    return [one.name for one in contenders(asked)]


def test_all_is_all_and_quick_leaves_the_networks_out() -> None:
    """The default and the controls are always there, once, and the default comes first."""
    assert names("all") == [*(kind.name for kind in DETECTORS), *REST]
    assert names("quick") == [DEFAULT, *(kind.name for kind in QUICK), *REST]
    assert not {kind.name for kind in NEURAL} & set(names("quick"))
    assert names("") == [DEFAULT, *REST]


def test_some_by_name() -> None:
    """Names may be mixed with the words, and a name that is there already is not run twice."""
    assert names("self-supervised, loudness")[:2] == [DEFAULT, "self-supervised"]
    assert names("quick,autoencoder-mahalanobis,states")[-3:] == ["autoencoder-mahalanobis", *REST]
    kinds = {one.name: one.kind for one in contenders("autoencoder,loudness")}
    assert kinds == {DEFAULT: "detector", "autoencoder": "detector", **dict.fromkeys(REST, "control")}
    assert [one.make().name for one in contenders("autoencoder")] == [DEFAULT, "autoencoder", *REST]


def test_an_unknown_name_is_refused_with_what_is_allowed() -> None:
    """Before anything is read or fitted."""
    with pytest.raises(WorkFailed, match=r"--detectors: detector is 'oracle', allowed is one of fusion.*or quick"):
        contenders("fusion,oracle")
