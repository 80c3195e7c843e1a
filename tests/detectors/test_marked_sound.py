"""The inaudible mark of generated sound is no fault: healthy sound that carries it keeps every detector's score.

TOLERANCE is in deviations of the score among healthy recordings, out of fold: a small part of what healthy recordings
differ by anyway.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from soundlab import evidence

from detectors.base import Evidence
from detectors.lineup import CONTROLS, DETECTORS, DetectorType
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_take
from sds_engine.provenance.watermark import embed

RATE, TOLERANCE, MEAN_TOLERANCE = 16_000, 0.6, 0.3


@pytest.fixture(scope="module")
def recordings() -> tuple[Evidence, Evidence, Evidence]:
    """Of one press (blows, quiet between them: the hardest): recordings to learn from, others, and those marked."""
    rng = np.random.default_rng(5)
    machine = draw_machine("press", rng)
    takes = [render_take(draw_take(machine, 10.0, RATE, rng)) for _ in range(22)]
    marked = [embed(wave, RATE, 40_503 * number % 65_536) for number, wave in enumerate(takes[16:])]
    assert all(z > 10 for _, z in marked)
    parts = (takes[:16], takes[16:], [wave for wave, _ in marked])
    learn, plain, changed = (evidence([torch.from_numpy(wave) for wave in part]) for part in parts)
    return learn, plain, changed


@pytest.mark.parametrize("kind", [*DETECTORS, *CONTROLS], ids=lambda kind: kind.name)
def test_marking_healthy_sound_moves_no_score(
    kind: DetectorType, recordings: tuple[Evidence, Evidence, Evidence]
) -> None:
    """No score moves by more than TOLERANCE deviations, the mean by far less: no ranking hangs on the mark."""
    learn, plain, changed = recordings
    detector = kind()
    spread = float(detector.cross_fit(learn).std())
    moved = (detector.score(changed) - detector.score(plain)) / spread
    assert float(moved.abs().max()) < TOLERANCE
    assert abs(float(moved.mean())) < MEAN_TOLERANCE
