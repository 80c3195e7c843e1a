"""Why a sound is odd: its three strongest bands, a physical guess at each, and the nearest healthy recording.

A guess is what the sound is compatible with, from rules with few thresholds; it is no diagnosis:

1. lines of the band's envelope that healthy sound does not have: impacts, named after the bearing, the gear or the
   shaft where the kinematics are known (Randall and Antoni, MSSP 25, 2011), else by their rate;
2. much of the band's power at one frequency: a tone, named after the gear mesh or a shaft order;
3. an envelope that is peakier than healthy: irregular strokes; else a hiss, or below 500 Hz (at 16 kHz) a rumble; a
   band that lost level is quieter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.envelope import (
    STEP_HZ,
    line_at,
    octave_edges,
    octave_envelopes,
    over_surroundings,
    rate_of_strokes,
)
from detectors.kinematics import Kinematics
from detectors.library import Library, Nearest
from detectors.model import Model
from detectors.statistics import band_means

Kind = Literal["impacts", "tone", "strokes", "hiss", "rumble", "quieter"]
Part = Literal["", "BPFO", "BPFI", "2BSF", "shaft", "mesh"]
COUNT = 3
LEAST_SPREADS = 2.0  # a band nearer to healthy than this is no band to speak of
NEW_DB = 8.0  # a line counts that stands so far above the highest healthy one; chance gives 5
_SLACK = 0.03  # a bearing slips by 1 to 2%, and the shaft is not quite where it was said to be
_TURNS = 6  # harmonics of the shaft that are looked at
_FASTEST_HZ = 100.0  # faster than this, lines without a name are the partials of a tone, not impacts
_PEAKY = 1.5  # times the highest healthy peakiness
_TONE_SHARE = 0.3  # of the band's power within a few bins
_SMOOTH = 5
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Guess:
    """What a band sounds like. hz: impacts a second, or the tone's frequency; 0 where there is none.

    part and order: which part of the machine fits, such as the third harmonic of the gear mesh; empty where none does.
    """

    kind: Kind
    hz: float = 0.0
    part: Part = ""
    order: int = 0


@dataclass(frozen=True, slots=True)
class Band:
    """A band that departs from healthy: range in Hz, mean departure in dB, the highest in healthy spreads."""

    low_hz: float
    high_hz: float
    db: float
    spreads: float
    guess: Guess


@dataclass(frozen=True, slots=True)
class Explanation:
    """Up to three bands, the strongest first, and the nearest healthy recording where the model knows its sources."""

    bands: tuple[Band, ...]
    nearest: Nearest | None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        bands = [asdict(band) for band in self.bands]
        return {"bands": bands, "nearest": None if self.nearest is None else self.nearest._asdict()}


@dataclass(frozen=True, slots=True)
class _Sound:
    """What the guesses are made from: envelope lines [octave, BINS] in dB, those of them that are new, peakiness."""

    samples: Tensor
    rate: int
    over: Tensor
    new: Tensor
    peaky: Tensor


@torch.inference_mode()
def explain(model: Model, evidence: Evidence, samples: Tensor, kinematics: Kinematics | None = None) -> Explanation:
    """Explain one context: evidence of one row, and the same sound as samples [time] at the model's rate.

    kinematics: what turns in the machine; None: what the model was trained with. Raises ValueError for several rows.
    """
    if len(evidence) != 1 or samples.ndim != 1:
        raise ValueError(f"{len(evidence)} contexts and samples {tuple(samples.shape)}: explain one at a time, [time]")
    kinematics = kinematics or model.kinematics
    sound = _listen(samples, model.rate, model.library)
    bands = tuple(
        Band(low, high, db, spreads, _guess(sound, low, high, db, kinematics))
        for low, high, db, spreads in strongest_bands(model, evidence)
    )
    nearest = model.library.nearest(evidence, model.healthy.mean_spread)[0] if model.library else None
    return Explanation(bands, nearest)


def strongest_bands(model: Model, evidence: Evidence) -> list[tuple[float, float, float, float]]:
    """Up to COUNT ranges: low and high in Hz, mean departure in dB, highest departure in healthy spreads (signed).

    Each surrounds the band that departs most and reaches as far as half of that in the same direction; the next is
    looked for outside.
    """
    healthy, edges = model.healthy, model.band_edges_hz
    off = (band_means(evidence).double() - healthy.mean)[0]  # [mel]
    odd = (off / healthy.mean_spread)[None, None]
    odd = torch.nn.functional.avg_pool1d(odd, _SMOOTH, 1, _SMOOTH // 2, count_include_pad=False)[0, 0]
    left = torch.ones(len(odd), dtype=torch.bool)
    found = []
    for _ in range(COUNT):
        peak = int(torch.where(left, odd.abs(), -1.0).argmax())
        if not left[peak] or abs(float(odd[peak])) < LEAST_SPREADS:
            break
        with_it = left & (odd * odd[peak].sign() >= _HALF * odd[peak].abs())
        low, high = peak, peak + 1
        while low > 0 and with_it[low - 1]:
            low -= 1
        while high < len(odd) and with_it[high]:
            high += 1
        found.append((float(edges[low]), float(edges[high]), float(off[low:high].mean()), float(odd[peak])))
        left[max(0, low - _SMOOTH // 2) : high + _SMOOTH // 2] = False
    return found


def _listen(samples: Tensor, rate: int, library: Library | None) -> _Sound:
    power, peaks = octave_envelopes(samples[None].float(), rate)
    over = over_surroundings(power)[0]
    if library is None:  # an older model: nothing is known of healthy envelopes, so every line is new
        return _Sound(samples, rate, over, over, peaks[0])
    known = torch.nn.functional.max_pool1d(library.lines[None], 5, 1, 2)[0]  # the speed wanders by a bin or two
    return _Sound(samples, rate, over, over - known.clamp_min(0.0), peaks[0] / library.peaks.clamp_min(1.0))


def _guess(sound: _Sound, low_hz: float, high_hz: float, db: float, kinematics: Kinematics) -> Guess:
    octave = _octave(low_hz, high_hz, sound.rate)
    impacts = None if octave is None else _impacts(sound.over[octave], sound.new[octave], kinematics)
    if impacts is not None and impacts.part:
        return impacts
    if db < 0:
        return Guess("quieter")
    tone = _tone(sound.samples, sound.rate, low_hz, high_hz)
    if tone:
        return _named_tone(tone, kinematics)
    if impacts is not None:
        return impacts
    if octave is None:
        return Guess("rumble")
    return Guess("strokes" if float(sound.peaky[octave]) > _PEAKY else "hiss")


def _octave(low_hz: float, high_hz: float, rate: int) -> int | None:
    """The octave that shares most with a band; None where most of the band lies below all of them."""
    shared = [min(high_hz, high) - max(low_hz, low) for low, high in pairwise(octave_edges(rate))]
    return shared.index(max(shared)) if 2 * max(shared) > min(high_hz - low_hz, rate / 32) else None


def _impacts(over: Tensor, new: Tensor, kinematics: Kinematics) -> Guess | None:
    """What strikes, from one octave's lines [BINS]; None where no line is new."""
    bearing = _bearing(over, new, kinematics)
    if bearing is not None:
        return bearing
    if float(new.max()) < NEW_DB:
        return None
    if kinematics.shaft_hz is not None:
        # The shaft's own line is often there in healthy sound too: what tells is how many of its harmonics are new.
        turns = [line_at(new, k * kinematics.shaft_hz, 0.02) for k in range(1, _TURNS + 1)]
        if sum(float(height) >= NEW_DB for _, height in turns) >= _TURNS / 2:
            return Guess("impacts", line_at(over, kinematics.shaft_hz, 0.02)[0], "shaft", 1)
    hz, height = rate_of_strokes(torch.where(new >= NEW_DB, over, 0.0))
    if kinematics.shaft_hz is not None:
        order = round(hz / kinematics.shaft_hz)
        if 1 <= order <= 3 and abs(hz - order * kinematics.shaft_hz) <= _SLACK * hz + STEP_HZ:
            return Guess("impacts", hz, "shaft", order)
    return Guess("impacts", hz) if height > 0 and hz <= _FASTEST_HZ else None


def _bearing(over: Tensor, new: Tensor, kinematics: Kinematics) -> Guess | None:
    lines = kinematics.bearing_hz()
    heights: dict[str, tuple[float, float]] = {}
    for name in ("BPFO", "BPFI", "2BSF"):
        if name not in lines:
            continue
        hz, height = line_at(over, lines[name], _SLACK)
        _, fresh = line_at(new, lines[name], _SLACK)
        if float(fresh) >= NEW_DB and not _only_shaft(over, hz, kinematics):
            # The same line may lie near two rates: the nearer one has it, 1 dB for each percent.
            heights[name] = (float(height) - 100.0 * abs(hz / lines[name] - 1.0), hz)
    if not heights:
        return None
    caged = float(line_at(new, lines["FTF"], 2 * _SLACK)[1]) >= NEW_DB  # only a ball goes round with the cage
    name = "2BSF" if caged and "2BSF" in heights else max(heights, key=lambda one: heights[one][0])
    return Guess("impacts", heights[name][1], name, 1)  # type: ignore[arg-type]  # the names are Part's


def _only_shaft(over: Tensor, hz: float, kinematics: Kinematics) -> bool:
    """Whether a line is a harmonic of the shaft and no higher than those beside it: a gear's blow, no bearing."""
    assert kinematics.shaft_hz is not None  # noqa: S101 - a bearing has rates only where the shaft is known
    shaft, height = line_at(over, kinematics.shaft_hz, _SLACK)
    order = round(hz / shaft)
    if float(height) < NEW_DB or abs(hz - order * kinematics.shaft_hz) > 0.01 * hz + STEP_HZ:
        return False
    mine = float(line_at(over, hz, 0.0)[1])
    beside = [float(line_at(over, (order + side) * kinematics.shaft_hz, 0.01)[1]) for side in (-1, 1)]
    return mine < max(beside) + 1.5


def _tone(samples: Tensor, rate: int, low_hz: float, high_hz: float) -> float:
    """The frequency that holds most of a band's power in half of all half seconds, in Hz; 0 where none does.

    Half seconds, because tones drift; five bins of 2 Hz, because what rings after a blow is wider than that.
    """
    size = min(len(samples), round(rate / 2))
    window = torch.hann_window(size, dtype=torch.float64)
    frames = samples.double().unfold(0, size, max(1, size // 2)) * window
    power = torch.fft.rfft(frames).abs().square()  # [frame, bin]
    first, last = max(2, round(low_hz * size / rate)), min(power.shape[1] - 3, round(high_hz * size / rate))
    if last - first < 3 * 5:  # a band as narrow as the tone itself says nothing
        return 0.0
    band = power[:, first : last + 1]
    peak = first + band.argmax(1)  # [frame]
    near = power.gather(1, peak[:, None] + torch.arange(-2, 3)).sum(1)
    if float((near / band.sum(1).clamp_min(1e-30)).quantile(0.5)) < _TONE_SHARE:
        return 0.0
    return float(peak.double().quantile(0.5)) * rate / size


def _named_tone(hz: float, kinematics: Kinematics) -> Guess:
    """The tone with the gear mesh or the shaft that it may come from."""
    for part, base, most in (("mesh", kinematics.mesh_hz(), 10), ("shaft", kinematics.shaft_hz, 20)):
        if base is None:
            continue
        order = round(hz / base)
        if 1 <= order <= most and abs(hz - order * base) <= min(0.01 * hz + 1.0, base / 5):
            return Guess("tone", hz, part, order)  # type: ignore[arg-type]  # the names are Part's
    return Guess("tone", hz)
