"""Site adaptation as `train` and `evaluate` do it: which recordings teach the separator, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from monitor.enhancing import EnhancedStage
from monitor.errors import WorkFailed
from monitor.stages import RATE, MaskStage

if TYPE_CHECKING:
    from sds_engine.separation.network import MaskNet

MINUTES = 8.0
STEPS = 900
ENHANCED_STEPS = 400
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

    targets, background = _sounds(recordings, seed)
    notes = []
    if not recordings.clean:
        notes.append("separator: no clean recordings, so what it lets through is the healthy mixture")
    if not recordings.background:
        notes.append("separator: no background recordings, so it learned on an invented hall")
    net, start = _start(seed)
    notes.append(f"separator: starts from {start}")
    statistics = site_statistics(targets)
    budget = Budget(steps, 60.0 * minutes, clock_s)
    trained, done = adapt(net, SiteSound(targets, background), statistics, budget=budget, seed=seed, progress=progress)
    notes.append(f"separator: {done} steps on {len(targets)} recordings of the machine, {len(background)} of the hall")
    # Models keep weights in half precision: what is calibrated must be what is restored.
    return MaskStage.restore(MaskStage(trained, statistics).state()), tuple(notes)


def enhanced_stage(
    stage: MaskStage,
    recordings: SiteRecordings,
    *,
    minutes: float = MINUTES / 2,
    steps: int = ENHANCED_STEPS,
    seed: int = 0,
    clock_s: Callable[[], float] = time.monotonic,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[EnhancedStage, tuple[str, ...]]:
    """Ex-Diff for this site, led by its separator, and notes on how it was made.

    Starts from the shipped network. Raises WorkFailed where that is missing or goes with another extractor.
    """
    from sds_engine.separation.adapt import Budget, SiteSound
    from sds_engine.separation.base import Query
    from sds_engine.separation.exdiff.adapt import adapt_exdiff
    from sds_engine.separation.exdiff.separator import asked_with, load_exdiff
    from sds_engine.separation.extractor import WeightsError
    from sds_engine.separation.network import TRUST

    try:
        start, _ = load_exdiff()
    except WeightsError as error:
        raise WorkFailed(f'the stage "enhanced" has no network to start from: {error}') from error
    targets, background = _sounds(recordings, seed)
    query, budget = Query(targets), Budget(steps, 60.0 * minutes, clock_s)
    site = SiteSound(targets, background)
    trained, done = adapt_exdiff(
        start, stage.net, site, query, guide_trust=TRUST, budget=budget, seed=seed, progress=progress
    )
    made = EnhancedStage(stage, trained, asked_with(query, 1).power[0].clone())
    note = f"Ex-Diff: {done} steps on the separator's recordings; {made.trust:g} of what it learned counts"
    return EnhancedStage.restore(made.state()), (note,)


def _sounds(recordings: SiteRecordings, seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Targets and background, invented where none was recorded. Raises ValueError for no targets."""
    targets = tuple(recordings.clean) or tuple(recordings.healthy)
    if not targets:
        raise ValueError("no recordings of the machine: give clean ones, or healthy ones as they are")
    return targets, tuple(recordings.background) or _invented(targets, seed)


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
