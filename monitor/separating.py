"""The expensive stage of the pipeline: what the cascade chooses is separated and scored on all paths as one.

Microphones that share a separator, as those of one machine do, are separated in one batch, whatever their models.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from detectors.aggregate import join
from detectors.frontend import Features
from detectors.model import Model
from detectors.paths import PATHS
from monitor.cascade import OVERLOAD, Cascade
from monitor.enhancing import separator_of
from monitor.errors import WorkFailed
from monitor.settings import Chain
from monitor.stages import Separator
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
        self._stages: dict[int, Separator] = {}  # by model
        self._nets: dict[int, str] = {}  # by model; those of one machine share a network
        if not self._cascade.on:
            return
        for machine, mics in models.items():
            for model in mics.values():
                if model.paths is None:
                    raise WorkFailed(
                        f'machine {machine} has no separator, but [chain] stages name "separated": train it anew with '
                        "factory-ear train"
                    )
                stage = self._stages[id(model)] = separator_of(model.paths.separator)
                if stage.name != settings.stages[-1]:
                    raise WorkFailed(
                        f'machine {machine} was trained for the stage "{stage.name}", but [chain] stages end with '
                        f'"{settings.stages[-1]}": train it anew with factory-ear train, or name that stage'
                    )
                self._nets[id(model)] = _digest(model.paths.separator)

    @property
    def on(self) -> bool:
        """Whether anything is ever separated."""
        return self._cascade.on

    @property
    def needs_fine(self) -> bool:
        """Whether windows must be heard with `FrontEnd.fine`."""
        return any(stage.needs_fine for stage in self._stages.values())

    def __call__(self, scored: Sequence[Scored], now_ns: int) -> tuple[list[WindowScore], float]:
        """The scores of windows, in their order, and the seconds that separating took."""
        results = [one.score for one in scored]
        if not self.on:
            return results, 0.0
        started = time.perf_counter()
        groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for row, one in enumerate(scored):
            if not self._cascade.wants(one.window, one.score.score):
                continue
            if self._cascade.overloaded(one.window, now_ns):
                results[row] = replace(one.score, reason=OVERLOAD)
            else:
                groups[self._nets[id(one.model)], one.model.context_windows].append(row)
        for rows in groups.values():
            for row, score in self._worst(scored, rows):
                results[row] = score
        return results, time.perf_counter() - started

    def _worst(self, scored: Sequence[Scored], rows: Sequence[int]) -> Iterator[tuple[int, WindowScore]]:
        """Rows of one network with their new scores: separated in one batch, then scored model by model."""
        evidence = join([scored[row].context for row in rows])
        found = self._stages[id(scored[rows[0]].model)].shares(evidence)
        models: defaultdict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            models[id(scored[row].model)].append(place)
        for key, places in models.items():
            some = found.rows(places)
            paths = self._stages[key].paths(evidence.rows(places), some.share, some.known)
            judged = scored[rows[places[0]]].model.score_paths(paths)
            table = zip(judged.score.tolist(), judged.extrapolated.tolist(), judged.path.tolist(), strict=True)
            for place, (score, extrapolated, path) in zip(places, table, strict=True):
                one = scored[rows[place]].score
                yield rows[place], replace(one, score=score, extrapolated=extrapolated, path=PATHS[path])


def _digest(separator: Mapping[str, Tensor]) -> str:
    """The same for separators with the same network and query, so that their microphones share a batch."""
    digest = hashlib.sha256()
    for name, tensor in sorted(separator.items()):
        if name == "usual":  # each microphone's own
            continue
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
