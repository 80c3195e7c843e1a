"""Site adaptation of Ex-Diff: minutes of fine-tuning on the customer's own sound, after the extractor's."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from sds_engine.separation.adapt import SNR_DB, Budget, SiteMixer, SiteSound, fine_tuned
from sds_engine.separation.base import Query
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.exdiff.mixing import Heard, mixed
from sds_engine.separation.exdiff.model import ExDiffModel
from sds_engine.separation.exdiff.separator import asked_with
from sds_engine.separation.exdiff.training import Task, loss_of
from sds_engine.separation.mixing import PAIRINGS
from sds_engine.separation.network import MaskNet
from sds_engine.separation.training import LEARNING_TRUST

BATCH = 16


def adapt_exdiff(
    model: ExDiffModel,
    guide: MaskNet | None,
    sound: SiteSound,
    query: Query,
    *,
    guide_trust: float = LEARNING_TRUST,
    budget: Budget | None = None,
    seed: int = 0,
    rate_peak: float = 1e-3,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[ExDiffModel, int]:
    """A copy of `model`, led by `guide` (the site's extractor), fine-tuned to the site, and how many steps that took.

    `guide_trust` is that in what the extractor learned: as much as the loss saw of it, since it learned on this site.

    The same seed gives every variant the same mixtures. Raises QueryError for a query without enrolment or prompt.
    """
    student = copy.deepcopy(model)
    if guide is not None:
        student.led_by(guide, guide_trust)
    student.fast = True
    mixer = SiteMixer(sound, site_statistics(sound.targets), seed)
    asked = asked_with(query, BATCH)

    def loss_at(net: ExDiffModel, step: int) -> torch.Tensor:
        examples = Heard(*mixed(mixer.parts(step, BATCH // PAIRINGS), SNR_DB), asked)
        return loss_of(net, Task.of(examples, torch.Generator().manual_seed(seed * 1_000_003 + step)))

    adapted, steps = fine_tuned(student, loss_at, budget=budget, rate_peak=rate_peak, progress=progress)
    adapted.fast = False
    return adapted, steps
