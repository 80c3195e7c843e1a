"""The expensive stage of the pipeline: what the cascade chooses is separated and scored on all paths as one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from detectors.aggregate import join
from detectors.frontend import Features
from detectors.model import Model
from detectors.paths import PATHS
from monitor.cascade import OVERLOAD, Cascade
from monitor.errors import WorkFailed
from monitor.settings import Chain
from monitor.stages import MaskStage, Stage
from streams.records import AudioWindow, WindowScore


@dataclass(frozen=True, slots=True)
class Scored:
    """A window with its raw score, and the context that the score was made from."""

    window: AudioWindow
    score: WindowScore
    model: Model
    context: Sequence[Features]


class Separating:
    """Replaces raw scores by those of the worst path, where the cascade says so. Keeps nothing between batches.

    Off (the identity) unless `[chain] stages` name it. Raises WorkFailed for a model that has no separator.
    """

    def __init__(self, settings: Chain, models: Mapping[str, Mapping[str, Model]]) -> None:
        self._cascade = Cascade(settings)
        self._stages: dict[int, Stage] = {}
        if not self._cascade.on:
            return
        for machine, mics in models.items():
            for model in mics.values():
                if model.paths is None:
                    raise WorkFailed(
                        f'machine {machine} has no separator, but [chain] stages name "separated": train it anew with '
                        "factory-ear train"
                    )
                self._stages[id(model)] = MaskStage.restore(model.paths.separator)

    @property
    def on(self) -> bool:
        """Whether anything is ever separated."""
        return self._cascade.on

    def __call__(self, scored: Sequence[Scored], now_ns: int) -> tuple[list[WindowScore], float]:
        """The scores of windows, in their order, and the seconds that separating took."""
        results = [one.score for one in scored]
        if not self.on:
            return results, 0.0
        started = time.perf_counter()
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for row, one in enumerate(scored):
            if not self._cascade.wants(one.window, one.score.score):
                continue
            if self._cascade.overloaded(one.window, now_ns):
                results[row] = replace(one.score, reason=OVERLOAD)
            else:
                groups[id(one.model)].append(row)
        for key, rows in groups.items():
            for row, score in zip(rows, self._worst([scored[row] for row in rows], self._stages[key]), strict=True):
                results[row] = score
        return results, time.perf_counter() - started

    def _worst(self, some: Sequence[Scored], stage: Stage) -> list[WindowScore]:
        found = some[0].model.score_paths(stage(join([one.context for one in some])))
        table = zip(found.score.tolist(), found.extrapolated.tolist(), found.path.tolist(), strict=True)
        return [
            replace(one.score, score=score, extrapolated=extrapolated, path=PATHS[path])
            for one, (score, extrapolated, path) in zip(some, table, strict=True)
        ]
