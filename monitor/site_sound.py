"""Site adaptation as `train` and `evaluate` do it: which recordings teach the separator, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from monitor.stages import RATE, MaskStage

if TYPE_CHECKING:
    from sds_engine.separation.network import MaskNet

MINUTES = 8.0
STEPS = 900
_INVENTED_S = 60.0  # of hall noise, where no background was recorded


@dataclass(frozen=True)
class SiteRecordings:
    """Recordings [time] at 16 kHz: of the machine alone, of the hall while it stands, and healthy ones as they are."""

    clean: Sequence[Tensor] = ()
    background: Sequence[Tensor] = ()
    healthy: Sequence[Tensor] = ()


def adapted_stage(
    recordings: SiteRecordings,
    *,
    minutes: float = MINUTES,
    steps: int = STEPS,
    seed: int = 0,
    clock_s: Callable[[], float] = time.monotonic,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[MaskStage, tuple[str, ...]]:
    """A separator for this site, and notes on how it was made.

    Starts from the shipped extractor, or from nothing where no weights are there. Without clean recordings the healthy
    ones are the targets; without background recordings the hall is invented. Raises ValueError for no recordings.
    """
    from sds_engine.separation.adapt import Budget, SiteSound, adapt
    from sds_engine.separation.enrolment import site_statistics

    targets = tuple(recordings.clean) or tuple(recordings.healthy)
    if not targets:
        raise ValueError("no recordings of the machine: give clean ones, or healthy ones as they are")
    notes = []
    if not recordings.clean:
        notes.append("separator: no clean recordings, so what it lets through is the healthy mixture")
    background = tuple(recordings.background)
    if not background:
        notes.append("separator: no background recordings, so it learned on an invented hall")
        background = _invented(targets, seed)
    net, start = _start(seed)
    notes.append(f"separator: starts from {start}")
    statistics = site_statistics(targets)
    budget = Budget(steps, 60.0 * minutes, clock_s)
    trained, done = adapt(net, SiteSound(targets, background), statistics, budget=budget, seed=seed, progress=progress)
    notes.append(f"separator: {done} steps on {len(targets)} recordings of the machine, {len(background)} of the hall")
    # Models keep weights in half precision: what is calibrated must be what is restored.
    return MaskStage.restore(MaskStage(trained, statistics).state()), tuple(notes)


def _start(seed: int) -> tuple[MaskNet, str]:
    from sds_engine.separation.extractor import WeightsError, load_extractor
    from sds_engine.separation.network import MaskNet

    try:
        extractor, card = load_extractor()
    except WeightsError:
        torch.manual_seed(seed)
        return MaskNet(), "random weights"
    return extractor.net, f"the shipped extractor ({card['steps']} steps)"


def _invented(targets: Sequence[Tensor], seed: int) -> tuple[Tensor, ...]:
    """Hall events and coloured noise at the targets' level."""
    from sds_engine.separation.pool import event_source, noise_source

    level = float(torch.cat([clip.square() for clip in targets]).mean().sqrt())
    sources = [event_source(kind, 0, seed) for kind in ("clank", "wrench", "forklift", "people")]
    sources.append(noise_source(round(_INVENTED_S / 12.0), seed))
    clips = [clip for source in sources for clip in source.clips]
    return tuple(level * torch.from_numpy(np.asarray(clip, dtype=np.float32)) for clip in clips)


def usable_rate(rate: int) -> bool:
    """Whether sound at `rate` Hz can be separated: mask networks hear 16 kHz only."""
    return rate == RATE
