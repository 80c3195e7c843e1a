"""What a waveform says beyond its log-mel: how peaky each octave is, and how often a second something strikes in it.

Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25 (2011): a train of impacts is a line at
its rate, with harmonics, in the squared envelope spectrum of the band that it rings in. Four octaves below Nyquist
(500 to 8,000 Hz at 16 kHz), pieces of 2 s, so that the slip of a bearing smears a line over a bin or two at most.
"""

from __future__ import annotations

import torch
from torch import Tensor

OCTAVES = 4
PIECE_S = 2.0
STEP_HZ = 1.0 / PIECE_S
HIGHEST_HZ = 400.0
BINS = round(HIGHEST_HZ / STEP_HZ) + 1
LOWEST_HZ = 1.5  # three turns in a piece
HARMONICS = 3
_AROUND = 41  # bins whose median is the spectrum around a line
_TINY = 1e-12
_FLOOR = 1e-9  # power, -90 dBFS: an octave without sound has no strokes, only rounding


def octave_edges(rate: int) -> list[float]:
    """The borders of the octaves in Hz, rising, `OCTAVES` + 1 of them."""
    return [rate / 2 / 2**k for k in range(OCTAVES, -1, -1)]


def octave_envelopes(samples: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Squared envelope spectra and peakiness of sound [batch, time]: [batch, octave, BINS], [batch, octave].

    The spectrum is the power of the modulation relative to the mean squared envelope, averaged over whole pieces; bin k
    is k * STEP_HZ. Peakiness is the mean square of the squared envelope over twice its mean squared: 1 for noise, above
    it for what comes in strokes. Sound shorter than a piece is one piece, read off at the same bins.
    """
    size = min(round(PIECE_S * rate), samples.shape[1])
    spectrum = torch.fft.rfft(samples.unfold(1, size, size))  # [batch, piece, bin]
    step = rate / size
    lines, peaks = [], []
    for low, high in zip(octave_edges(rate)[:-1], octave_edges(rate)[1:], strict=True):
        band = spectrum[..., round(low / step) : round(high / step)]
        # The band alone, shifted to 0 Hz: its magnitude is the envelope. Twice as long, so that its square fits.
        length = 2 * band.shape[-1]
        squared = _power(torch.fft.ifft(band, n=length))  # [batch, piece, time]
        squared = squared.mul_((2.0 * length / size) ** 2).add_(_FLOOR)  # in the samples' units
        relative = squared / squared.mean(-1, keepdim=True)
        power = _power(torch.fft.rfft(relative - 1.0)[..., : _kept(step)]).mean(1) * (2.0 / length) ** 2  # [batch, bin]
        lines.append(_on_grid(power, step))
        peaks.append(relative.square().mean((1, 2)) / 2.0)
    return torch.stack(lines, dim=1), torch.stack(peaks, dim=1)


def _power(spectrum: Tensor) -> Tensor:
    """The squared magnitude, without the square root of `abs`: four times as fast."""
    return spectrum.real.square().add_(spectrum.imag.square())


def _kept(step_hz: float) -> int:
    """How many bins reach up to HIGHEST_HZ."""
    return round(HIGHEST_HZ / step_hz) + 1


def _on_grid(power: Tensor, step_hz: float) -> Tensor:
    """The power at multiples of STEP_HZ [batch, BINS]; 0 beyond what the band can follow."""
    place = torch.round(torch.arange(BINS, device=power.device) * (STEP_HZ / step_hz)).long()
    inside = place < power.shape[1]
    return torch.where(inside, power[:, place.clamp_max(power.shape[1] - 1)], 0.0)


def over_surroundings(power: Tensor) -> Tensor:
    """How far every bin [..., BINS] stands above the 20 Hz around it, in dB; 0 below LOWEST_HZ and in silence."""
    around = _median_around(power.reshape(-1, power.shape[-1])).reshape(power.shape)
    over = 10.0 * (power.clamp_min(_TINY) / around.clamp_min(_TINY)).log10()
    over[..., : round(LOWEST_HZ / STEP_HZ)] = 0.0
    return over


def _median_around(rows: Tensor) -> Tensor:
    """The median of the _AROUND bins around every bin of rows [row, bin]; beyond the ends their values go on."""
    padded = torch.nn.functional.pad(rows[:, None], (_AROUND // 2, _AROUND // 2), mode="replicate")[:, 0]
    if rows.device.type != "cpu" or bool(rows.isnan().any()):
        return padded.unfold(1, _AROUND, 1).median(-1).values
    from scipy.ndimage import median_filter  # a running median: fifteen times as fast, the same values

    # All rows as one: a row's padding is as long as the filter reaches, so no row sees the next.
    found = torch.from_numpy(median_filter(padded.reshape(-1).numpy(), _AROUND, mode="nearest"))
    return found.reshape(padded.shape)[:, _AROUND // 2 : rows.shape[1] + _AROUND // 2]


def line_at(over: Tensor, hz: float, slack: float) -> tuple[float, Tensor]:
    """The highest line within `slack` (relative) of `hz`: where [..., BINS] has it, and its height in dB [...].

    The place in Hz is that of the highest of all rows. A line outside the grid is 0 dB high.
    """
    reach = max(slack * hz, STEP_HZ)
    first = max(round(LOWEST_HZ / STEP_HZ), round((hz - reach) / STEP_HZ))
    last = min(over.shape[-1] - 1, round((hz + reach) / STEP_HZ))
    if last < first:
        return hz, over.new_zeros(over.shape[:-1])
    inside = over[..., first : last + 1]
    place = int(inside.reshape(-1, inside.shape[-1]).amax(0).argmax())
    return (first + place) * STEP_HZ, inside.amax(-1)


def rate_of_strokes(over: Tensor) -> tuple[float, float]:
    """How often a second something strikes, from the lines [BINS] of one sound, and how high that line is in dB.

    Every line within 10 dB of the highest is tried as the first of three harmonics; of those whose mean height is
    within 3 dB of the best the slowest is the rate, since a train's harmonics have combs of their own. (0, 0) for none.
    """
    lines = torch.nonzero((over >= over.max() - 10.0) & (over > 0)).squeeze(1).tolist()
    combs = {place: sum(_heights(over, place)) / len(_heights(over, place)) for place in lines}
    if not combs:
        return 0.0, 0.0
    least = max(combs.values()) - 3.0
    place = min(one for one, comb in combs.items() if comb >= least)
    return place * STEP_HZ, float(over[place])


def _heights(over: Tensor, place: int) -> list[float]:
    """The first harmonics of a line, each at its highest within a bin; those beyond the grid are left out."""
    return [
        float(over[k * place - (k > 1) : k * place + 1 + (k > 1)].max())
        for k in range(1, HARMONICS + 1)
        if k * place + 1 < len(over)
    ] or [0.0]
