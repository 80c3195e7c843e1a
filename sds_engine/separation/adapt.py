"""Site adaptation: minutes of fine-tuning on the customer's own sound.

Needs recordings of the machine alone (`clean`), of the hall while it stands (`background`), or, where one of them is
missing, healthy recordings as they are: as targets they teach the net to take away what is added to them (noisy-target
training: Fujimura et al., EUSIPCO 2021), as background nothing. Half of the targets carry stand-ins for faults, so
that the net does not learn that only healthy sound may pass.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sds_engine.physics.wander import generator as numpy_generator
from sds_engine.separation.grid import analyse
from sds_engine.separation.mixing import PAIRINGS, SEGMENT, Examples, pair
from sds_engine.separation.network import MaskNet, QueryInput
from sds_engine.separation.standins import with_stand_ins
from sds_engine.separation.training import loss_of

BATCH = 64
STAND_INS = 0.5
AVERAGE = 0.995
Net = TypeVar("Net", bound=nn.Module)
SNR_DB = (-9.0, 9.0)  # the background is up to so much louder or softer than it was


@dataclass(frozen=True)
class SiteSound:
    """The site's own recordings [time] each; `query` is what the net is asked with, there and later.

    Targets are recordings of the machine, alone if there are any; background those of the hall without it.
    """

    targets: tuple[Tensor, ...]
    background: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not self.targets or not self.background:
            raise ValueError(
                f"{len(self.targets)} recordings of the machine and {len(self.background)} of its background: give at "
                "least one of each"
            )


@dataclass(frozen=True)
class Budget:
    """When to stop: after so many steps, or so many seconds, whichever comes first."""

    steps: int = 1500
    seconds: float = 600.0
    clock_s: Callable[[], float] = field(default=time.monotonic)


@dataclass(frozen=True)
class SiteParts:
    """STFTs [count, bin, frame] of targets and backgrounds at the levels they have there; level [count] is 1.

    What is still to be drawn comes from `generator`.
    """

    wanted: Tensor
    rest: Tensor
    level: Tensor
    generator: torch.Generator


class SiteMixer:
    """Draws batches from a site's sound; the same for the same seed and step."""

    def __init__(self, sound: SiteSound, statistics: Tensor, seed: int) -> None:
        self._sound, self._statistics, self._seed = sound, statistics, seed

    def batch(self, step: int, size: int) -> Examples:
        """The examples of this step."""
        parts = self.parts(step, max(1, size // PAIRINGS))
        mixed = pair(parts.wanted, parts.rest, parts.level, SNR_DB, parts.generator)
        query = QueryInput.of(len(mixed.log_mel), statistics=self._statistics)
        return Examples(mixed.log_mel, query, mixed.ratio, mixed.target, mixed.cross)

    def parts(self, step: int, count: int) -> SiteParts:
        """What the batch of this step is mixed from, each SEGMENT samples."""
        rng = numpy_generator(self._seed, 81, step)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        target = torch.stack([_segment(self._sound.targets, rng) for _ in range(count)])
        rest, second = (torch.stack([_segment(self._sound.background, rng) for _ in range(count)]) for _ in range(2))
        both = torch.rand(count, 1, generator=generator) < 0.3
        rest = torch.where(both, (rest + second) / 2**0.5, rest)
        jitter = 10.0 ** (1.0 * torch.randn(count, 1, generator=generator) / 20.0)
        target, changes = with_stand_ins(target * jitter, STAND_INS, generator)
        return SiteParts(analyse(target) * changes[:, :, None], analyse(rest), torch.ones(count), generator)


def _segment(clips: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    clip = clips[int(rng.integers(len(clips)))]
    if len(clip) < SEGMENT:
        clip = clip.repeat(-(-SEGMENT // len(clip)))
    begin = int(rng.integers(0, len(clip) - SEGMENT + 1))
    return clip[begin : begin + SEGMENT]


def adapt(
    net: MaskNet,
    sound: SiteSound,
    statistics: Tensor,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    rate_peak: float = 1e-3,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[MaskNet, int]:
    """A copy of `net` fine-tuned to the site, and how many steps that took. `progress` hears of step and loss."""
    mixer = SiteMixer(sound, statistics, seed)
    return fine_tuned(
        net,
        lambda student, step: loss_of(student, mixer.batch(step, BATCH)),
        budget=budget,
        rate_peak=rate_peak,
        progress=progress,
    )


def fine_tuned(
    net: Net,
    loss_at: Callable[[Net, int], Tensor],
    *,
    budget: Budget | None = None,
    rate_peak: float = 1e-3,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Net, int]:
    """A copy of `net` after steps down loss_at(net, step), and their number: the running mean of its weights."""
    budget = budget or Budget()
    net = copy.deepcopy(net).train()
    mean = copy.deepcopy(net).eval()
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate_peak, betas=(0.9, 0.98), weight_decay=1e-2)
    began, step = budget.clock_s(), 0
    while step < budget.steps and (spent := budget.clock_s() - began) < budget.seconds:
        along = max(step / budget.steps, spent / budget.seconds)
        for group in optimiser.param_groups:
            group["lr"] = rate_peak * min(1.0, (step + 1) / 50) * (0.51 + 0.49 * float(np.cos(np.pi * along)))
        loss = loss_at(net, step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        decay = min(AVERAGE, step / (step + 10.0))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - decay)
        if progress is not None:
            progress(step, float(loss.detach()))
    return mean.eval(), step
