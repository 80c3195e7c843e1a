"""What the modes of healthy parts have in common, and how another part departs from that.

A mode belongs to the reference where it is found in most healthy parts. A part is compared twice: all its modes
together (size, temperature, how it is held) and each mode against the others (a crack, a loose fit). Differences are of
logarithms, in units of the healthy parts' robust spread and the estimate's own uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from detectors.tap_factor import Oddness, learn_factor, oddness
from sds_engine.dsp.modal import LEAST_SNR_DB, Modes

F64 = NDArray[np.float64]

MOST_OFFSET = 0.05  # by which all modes of a part may be higher or lower together, as a logarithm
OFFSET_STEP = 0.0005
TOGETHER = 0.004  # modes of aligned healthy parts this close are one
JUMP = 0.003  # a mode that is so far off may be another one: rings have theirs in pairs, reflections make more
FAR = 0.04  # a mode that moved further is missing
SHARE = 0.9  # of the healthy parts that must have a mode: one that is heard now and then is mistaken for its neighbour
SURE_DB = 24.0  # and with this much energy over noise in nine of ten
MOST_MODES = 32
SATELLITE = 0.05  # beside a stronger mode, reflections make weak ones at random places ...
SATELLITE_DB = 20.0  # ... this far below it
LEVEL_DB = 8.0  # a mode's level changes so much with the place of the blow
MOST_LEVEL_DB = 24.0
LEAST_SPREAD = np.array([2e-4, 0.01])  # of ln hz and ln zeta: no jig repeats better
MISSING = 2.0  # z-score per tenfold of surprise at a missing mode


@dataclass(frozen=True, slots=True)
class Departure:
    """How a part departs from healthy; all in z-scores but the last two.

    statistic: the largest; what: which one ("mode", "damping", "all modes", "all damping", "missing"). hz: the healthy
    frequency of that mode (0 for all). shift and damping: by how much the frequency and damping changed, as shares.
    """

    statistic: float
    what: str
    hz: float
    shift: float
    damping: float


@dataclass(frozen=True, slots=True)
class Reference:
    """Healthy modes: ln hz and ln zeta [2, mode], their spreads [2, mode], those of all together [2].

    level [mode] in dB of the part's whole energy; sure [2, mode]: the deviations that healthy parts' estimates told;
    present [mode]: the share of healthy parts that had it, of `parts`. others [place]: ln hz of what healthy parts had
    besides, set beside the modes.
    """

    centre: F64
    spread: F64
    common: F64
    level: F64
    sure: F64
    present: F64
    others: F64
    parts: int

    def compare(self, modes: Modes) -> Departure:
        """How these modes depart; a part without any of the reference's modes misses them all."""
        modes = without_satellites(modes)
        pairs = self._match(modes)
        missing = np.setdiff1d(np.arange(len(self.level)), pairs[:, 0])
        surprise = self._surprise(missing, modes)
        worst = Departure(MISSING * float(surprise.sum()), "missing", 0.0, 0.0, 0.0)
        if len(missing):
            worst = Departure(worst.statistic, "missing", _hz(self.centre[0, missing[np.argmax(surprise)]]), 0.0, 0.0)
        if not len(pairs):
            return worst
        off = _logs(modes)[:, pairs[:, 1]] - self.centre[:, pairs[:, 0]]  # [2, matched]
        spread = self._spread(pairs[:, 0], np.stack([modes.hz_sd, modes.zeta_sd])[:, pairs[:, 1]])
        shared, each = self._zs(off, spread, pairs[:, 0], missing, modes)
        for kind, what in enumerate(("all modes", "all damping")):
            if abs(shared[kind].shared_z) > worst.statistic:
                both = np.expm1([one.shared for one in shared]).tolist()
                worst = Departure(abs(shared[kind].shared_z), what, 0.0, both[0], both[1])
        kind, place = divmod(int(each.argmax()), each.shape[1])
        if float(each[kind, place]) > worst.statistic:
            hz = _hz(self.centre[0, pairs[place, 0]])
            shift, damping = np.expm1(off[:, place])
            worst = Departure(float(each.max()), ("mode", "damping")[kind], hz, float(shift), float(damping))
        return worst

    def _zs(
        self, off: F64, spread: F64, which: NDArray[np.intp], missing: NDArray[np.intp], modes: Modes
    ) -> tuple[list[Oddness], F64]:
        """What is odd of all together, per kind; and z-scores [2, matched] of each mode, 0 where none is to be had."""
        jumped = self._jumped(off[0], spread[0])
        still = ~jumped
        odd = [oddness(off[kind, still], spread[kind, still], float(self.common[kind])) for kind in range(2)]
        each = np.zeros(spread.shape)
        each[:, still] = np.abs(np.stack([one.own_z for one in odd]))
        for place in np.flatnonzero(jumped).tolist():
            apart = off[0, place] - odd[0].shared
            other = self._other(which[place], apart, missing, modes)
            each[0, place] = min(abs(apart) / float(np.hypot(spread[0, place], odd[0].shared_sd)), other)
        return odd, each

    def _jumped(self, off: F64, spread: F64) -> NDArray[np.bool_]:
        """Which frequencies [matched] are so far off the others that they may be another mode's."""
        weight = np.append(1.0 / spread, 1.0 / self.common[0])
        value = np.append(off, 0.0)  # healthy parts count as one mode more
        order = np.argsort(value)
        middle = value[order][int(np.searchsorted(weight[order].cumsum(), 0.5 * weight.sum()))]
        return np.asarray(np.abs(off - middle) > np.maximum(JUMP, 5.0 * spread))

    def _other(self, which: int, apart: float, missing: NDArray[np.intp], modes: Modes) -> float:
        """The z-score of the other story: this mode is missing, and what was heard `apart` from it is another one."""
        place = self.centre[0, which] + apart
        known = missing[np.abs(self.centre[0, missing] - place) < JUMP]
        often = float((np.abs(self.others - place) < JUMP).sum()) + self.parts * float(self.present[known].sum())
        there = -np.log10(min(1.0, (often + 0.5) / (self.parts + 1)))
        return MISSING * float(self._surprise(np.array([which]), modes)[0] + there)

    def _surprise(self, missing: NDArray[np.intp], modes: Modes) -> F64:
        """How many tenfolds of improbability the absence of each of these modes is [missing]."""
        seldom = (self.parts * (1.0 - self.present[missing]) + 0.5) / (self.parts + 1)
        # a mode that would be weak in this recording is now and then too weak; one in a silent part is not excused
        excess = _total(modes) + self.level[missing] - LEAST_SNR_DB if len(modes) else np.full(len(missing), np.inf)
        weak = scipy.stats.norm.sf(excess / LEVEL_DB)
        return np.asarray(-np.log10(np.maximum(seldom, weak)))

    def _spread(self, which: NDArray[np.intp], sure: F64) -> F64:
        """The spreads [2, matched] of these modes, more where this part's are less sure than healthy ones' were."""
        usual = self.sure[:, which]
        more = np.maximum(np.square(sure) - np.square(usual), 0.0)
        # what healthy parts show bounds what the estimate's own word is worth
        worth = np.minimum(1.0, np.square(self.spread[:, which] / np.maximum(usual, 1e-12)))
        return np.asarray(np.sqrt(np.square(self.spread[:, which]) + more * worth))

    def _match(self, modes: Modes) -> NDArray[np.intp]:
        """Pairs [matched, 2] of reference and part, each once, near in frequency and not too far in level."""
        if not len(modes):
            return np.zeros((0, 2), dtype=np.intp)
        logs = np.log(modes.hz) - _offset(self.centre[0], self.level, np.log(modes.hz), _levels(modes))
        apart = logs[None, :] - self.centre[0][:, None]  # [reference, part]
        louder = _levels(modes)[None, :] - self.level[:, None]
        cost = np.square(apart / 0.01) + np.square(louder / LEVEL_DB)
        cost[(np.abs(apart) > FAR) | (np.abs(louder) > MOST_LEVEL_DB)] = 1e6
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        fits = cost[rows, columns] < 1e6
        return np.stack([rows[fits], columns[fits]], axis=1)

    def smallest_shift(self, z: float) -> F64:
        """The smallest relative change [2, mode] of frequency and of damping of one mode that reaches `z`."""
        weight = 1.0 / np.square(self.spread)
        rest = weight.sum(1, keepdims=True) + 1.0 / np.square(self.common[:, None]) - weight
        return np.asarray(np.expm1(z * np.sqrt(np.square(self.spread) + 1.0 / rest)))


def learn(parts: Sequence[Modes]) -> Reference:
    """The reference of healthy parts (recordings). Raises ValueError where they share no mode."""
    parts = [without_satellites(part) for part in parts]
    pivot = max(parts, key=len)
    if not len(pivot):
        raise ValueError("no healthy part rings: no mode stands out of the noise; strike harder or closer")
    offsets = [_offset(np.log(pivot.hz), _levels(pivot), np.log(part.hz), _levels(part)) for part in parts]
    found = _consensus(parts, offsets)  # [mode, part], -1 where a part has not got it
    if not len(found):
        raise ValueError(f"{len(parts)} healthy recordings share no mode: are they of the same part, struck alike?")
    logs = np.full((2, *found.shape), np.nan)
    levels = np.full(found.shape, np.nan)
    sure = np.full((2, *found.shape), np.nan)
    for number, part in enumerate(parts):
        has = found[:, number] >= 0
        which = found[has, number]
        logs[:, has, number] = _logs(part)[:, which]
        levels[has, number] = _levels(part)[which]
        sure[:, has, number] = np.stack([part.hz_sd, part.zeta_sd])[:, which]
    centre = np.nanmedian(logs, axis=2)  # [2, mode]
    factors = [learn_factor(logs[kind] - centre[kind, :, None], LEAST_SPREAD[kind]) for kind in range(2)]
    spread = np.stack([factor.own for factor in factors])
    common = np.array([factor.common for factor in factors])
    present = (found >= 0).mean(1)
    usual = np.nanmedian(sure, axis=2)
    others = _others(parts, found, np.nan_to_num(np.nanmedian(logs[0] - centre[0, :, None], axis=0)))
    return Reference(centre, spread, common, np.nanmedian(levels, axis=1), usual, present, others, len(parts))


def _others(parts: Sequence[Modes], found: NDArray[np.intp], higher: F64) -> F64:
    """Where (ln hz) the parts have modes that are none of those `found`, each lowered by what its part is higher."""
    rest = [
        np.delete(np.log(part.hz), found[found[:, number] >= 0, number]) - higher[number]
        for number, part in enumerate(parts)
    ]
    return np.sort(np.concatenate([np.zeros(1), *rest]))  # 1 Hz: a tensor on disk is never empty


def without_satellites(modes: Modes) -> Modes:
    """Without the weak modes beside strong ones, which a hall's reflections make."""
    near = np.abs(np.log(modes.hz)[:, None] - np.log(modes.hz)[None, :]) < SATELLITE
    weak = modes.snr_db[:, None] < modes.snr_db[None, :] - SATELLITE_DB
    return modes.pick(~(near & weak).any(1))


def _logs(modes: Modes) -> F64:
    return np.stack([np.log(modes.hz), np.log(modes.zeta)])


def _levels(modes: Modes) -> F64:
    """The energy of each mode in dB of all."""
    if not len(modes):
        return np.zeros(0)
    return np.asarray(modes.snr_db - _total(modes))


def _total(modes: Modes) -> float:
    """The energy of all modes over noise in dB."""
    return float(10.0 * np.log10(np.sum(10.0 ** (modes.snr_db / 10.0))))


def _hz(log_hz: float) -> float:
    return float(np.exp(log_hz))


def _offset(reference: F64, level: F64, logs: F64, levels: F64) -> float:
    """By how much `logs` [part] lie higher than `reference` [mode] together: the best overlap of strong modes."""
    if not len(logs):
        return 0.0
    steps = np.arange(-MOST_OFFSET, MOST_OFFSET + OFFSET_STEP / 2, OFFSET_STEP)
    apart = (logs[None, :] - reference[:, None]).ravel()
    strength = np.maximum(np.minimum.outer(level, levels).ravel() + 50.0, 0.0)
    near = np.abs(apart) < MOST_OFFSET + 4.0 * OFFSET_STEP
    overlap = np.exp(-0.5 * np.square((apart[near][:, None] - steps) / (2.0 * OFFSET_STEP)))
    # Of equal overlaps the smallest offset: one moved mode must not carry all others along.
    score = strength[near] @ overlap - 1e-3 * strength.sum() * np.abs(steps)
    return float(steps[int(np.argmax(score))])


def _consensus(parts: Sequence[Modes], offsets: Sequence[float]) -> NDArray[np.intp]:
    """Modes that most parts have: for each, its number in every part, -1 where absent [mode, part]."""
    logs = np.concatenate([np.log(part.hz) - offset for part, offset in zip(parts, offsets, strict=True)])
    level = np.concatenate([_levels(part) for part in parts])
    part = np.concatenate([np.full(len(one), number) for number, one in enumerate(parts)])
    inside = np.concatenate([np.arange(len(one)) for one in parts])
    free = np.ones(len(logs), dtype=bool)
    crowd = np.exp(-0.5 * np.square((logs[:, None] - logs[None, :]) / (TOGETHER / 4)))
    rows: list[NDArray[np.intp]] = []
    while free.any() and len(rows) < MOST_MODES:
        middle = int(np.argmax(np.where(free, (crowd * np.where(free, np.maximum(level + 60.0, 1.0), 0.0)).sum(1), -1)))
        near = np.flatnonzero(free & (np.abs(logs - logs[middle]) < TOGETHER))
        row = np.full(len(parts), -1, dtype=np.intp)
        for number in near[np.argsort(np.abs(logs[near] - logs[middle]))[::-1]]:
            row[part[number]] = inside[number]  # the nearest of each part stays
        free[near] = False
        has = row >= 0
        strength = [parts[number].snr_db[row[number]] for number in np.flatnonzero(has).tolist()]
        if has.mean() >= SHARE and np.quantile(strength, 0.1) >= SURE_DB:
            rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, len(parts)), dtype=np.intp)
