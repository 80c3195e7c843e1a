"""The gate: what may go on the wire, and what capture must say about the sound that goes.

It stands before encoding, where samples are still float and may be NaN or in some other unit, and again at the worker,
where they come from a wire that others may write to. Refusing is for what nobody can score; sound that is merely
poor (clipped, silent) goes on with a flag, because a dead microphone is news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from streams.records import AudioWindow, Flag

Reason = Literal["wrong_shape", "wrong_rate", "wrong_length", "not_finite", "over_range"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Verdict(NamedTuple):
    """Whether the sound may pass; where not, `reason` is one of `REASONS` and `text` says it to people."""

    ok: bool
    reason: Reason | Literal[""] = ""
    text: str = ""


PASSED = Verdict(ok=True)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the line carries: `rate` in Hz, windows of exactly `window_s`, samples within `max_peak`.

    int16 full scale decodes to at most 1.0; anything beyond is in another unit.
    """

    rate: int = 16_000
    window_s: float = 2.0
    max_peak: float = 1.0

    @property
    def length(self) -> int:
        """The samples of one window."""
        return round(self.rate * self.window_s)


def check_window(window: AudioWindow, limits: GateLimits) -> Verdict:
    """Whether `window` may pass. Pure; never raises."""
    return check_samples(window.samples, window.rate, limits)


def check_samples(samples: NDArray[np.floating], rate: int, limits: GateLimits) -> Verdict:
    """Whether `samples` [time], full scale 1.0, at `rate` Hz may pass. Pure; never raises."""
    if samples.ndim != 1:
        return Verdict(ok=False, reason="wrong_shape", text=f"samples have shape {samples.shape}, allowed is [time]")
    if rate != limits.rate:
        text = f"{rate} Hz, the line runs at {limits.rate} Hz; set site.rate alike everywhere"
        return Verdict(ok=False, reason="wrong_rate", text=text)
    if len(samples) != limits.length:
        text = f"{len(samples)} samples, a window has {limits.length}; set site.window_s alike everywhere"
        return Verdict(ok=False, reason="wrong_length", text=text)
    peak = _peak(samples)
    if not np.isfinite(peak):
        bad = len(samples) - int(np.isfinite(samples).sum())
        text = f"{bad} of {len(samples)} samples are NaN or infinite; look at the driver or the file"
        return Verdict(ok=False, reason="not_finite", text=text)
    if peak > limits.max_peak:
        text = f"samples reach {peak:g}, full scale is {limits.max_peak:g}; scale them to full scale 1.0"
        return Verdict(ok=False, reason="over_range", text=text)
    return PASSED


@dataclass(frozen=True, slots=True)
class SoundLevels:
    """When sound is called clipped or silent.

    Clipped: at least `clipped_share` of the samples stand at or above `full_scale`, or at least `flat_share` of
    them lie in runs of `flat_run` or more equal samples at the window's own positive or negative peak (a preamplifier
    that clips below full scale), where that peak is above `flat_above`. A pure tone rests at its peak for 1 or 2
    samples (20 Hz at 16 kHz, half of full scale: 3), so a run of 6 is a cut top.
    Silent: the sound without its mean is below `silent_dbfs` (RMS), which also catches digital silence and a value
    that is stuck, or `stuck_share` of the window is one unbroken run of one value (a cable that fell out). The last
    bit of 16 is at -90 dBFS; a microphone that lives is above -85.
    """

    full_scale: float = 0.9995
    clipped_share: float = 1e-3
    flat_run: int = 6
    flat_share: float = 5e-3
    flat_above: float = 0.05
    silent_dbfs: float = -90.0
    stuck_share: float = 0.5


LEVELS = SoundLevels()


def sound_flags(samples: NDArray[np.float32], levels: SoundLevels = LEVELS) -> frozenset[Flag]:
    """The flags `clipped` and `silent` for `samples` [time], full scale 1.0. Empty or not finite: no flags."""
    if not len(samples) or not np.isfinite(_peak(samples)):
        return frozenset()
    if is_silent(samples, levels):
        return frozenset({"silent"})
    return frozenset({"clipped"}) if is_clipped(samples, levels) else frozenset()


def is_silent(samples: NDArray[np.float32], levels: SoundLevels = LEVELS) -> bool:
    """Whether `samples` [time] hold no living sound; see `SoundLevels`."""
    if float(samples.std()) < 10.0 ** (levels.silent_dbfs / 20.0):
        return True
    same, needed = samples[1:] == samples[:-1], levels.stuck_share * len(samples) - 1
    return bool(np.count_nonzero(same) >= needed) and _longest_run(same) >= needed


def is_clipped(samples: NDArray[np.float32], levels: SoundLevels = LEVELS) -> bool:
    """Whether the tops of `samples` [time] were cut off; see `SoundLevels`."""
    peak = _peak(samples)
    if peak >= levels.full_scale:
        at_full_scale = np.count_nonzero(np.abs(samples) >= levels.full_scale)
        if at_full_scale >= levels.clipped_share * len(samples):
            return True
    if peak <= levels.flat_above:
        return False
    tops, bottoms = samples == samples.max(), samples == samples.min()
    if np.count_nonzero(tops) + np.count_nonzero(bottoms) < levels.flat_share * len(samples):
        return False
    flat = _in_runs(tops, levels.flat_run) + _in_runs(bottoms, levels.flat_run)
    return flat >= levels.flat_share * len(samples)


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """RMS in dB relative to full scale 1.0; minus infinity for digital silence or nothing at all."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def _peak(samples: NDArray[np.floating]) -> float:
    return float(np.maximum(samples.max(), -samples.min())) if len(samples) else 0.0  # NaN passes through both


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The lengths of the runs of True in `mask` [time]."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges[1::2] - edges[::2]


def _longest_run(mask: NDArray[np.bool_]) -> int:
    return int(_runs(mask).max(initial=0))


def _in_runs(mask: NDArray[np.bool_], shortest: int) -> int:
    lengths = _runs(mask)
    return int(lengths[lengths >= shortest].sum())
