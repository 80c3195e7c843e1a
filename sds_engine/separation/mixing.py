"""Training examples for mask networks: mixtures drawn on the fly, with the share of the target in every mel band.

An example is a target, one to three other sounds at a random level, and a query for the target: enrolment from another
recording of the same source, a prompt, or both. A few queries ask for what is not there: then nothing must be let
through. Everything is drawn from the seed and the step's number, so that a resumed training goes on as if nothing had
happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sds_engine.physics.wander import generator as numpy_generator
from sds_engine.separation.grid import BINS, RATE, analyse, log_mel, mel_bands, power
from sds_engine.separation.network import TEXT, QueryInput, enrolment_statistics
from sds_engine.separation.pool import Source, coloured_noise
from sds_engine.separation.standins import random_gains, unrest, with_stand_ins

SEGMENT = 4 * RATE
LENGTHS = ((2 * RATE, 2.0), (4 * RATE, 1.0), (10 * RATE, 0.4))  # samples of an example, and how many to SEGMENT's one
ENROLMENT = 6 * RATE
FAULTY = 0.45  # of machine targets come from a recording with a fault
STAND_INS = 0.35  # of all targets carry a random change that the enrolment does not have
ABSENT = 0.08
IN_TURNS = 0.6  # of backgrounds change from one sound to another, as a hall does when things are switched on and off
SNR_DB = (-20.0, 10.0)
PAIRINGS = 4  # backgrounds that each target of a batch meets


@dataclass(frozen=True)
class Examples:
    """A batch of mixtures X of targets S: everything [batch, mel, frame], sums over the bins of a band.

    log_mel is |X|^2 in dB, ratio |S|^2 over the sum of both sides' power, target |S|^2 and cross Re(S X*).
    """

    log_mel: Tensor
    query: QueryInput
    ratio: Tensor
    target: Tensor
    cross: Tensor


@dataclass(frozen=True)
class Parts:
    """What a batch is mixed from: STFTs [count, bin, frame] of the targets and, of RMS 1, of the others' sum.

    level [count] is the targets' RMS before they were changed, asked [count, bin, frame] the enrolments' power, text
    [count, 384] the prompts' embeddings, zeros where there is none. What is still to be drawn comes from `generator`.
    """

    wanted: Tensor
    rest: Tensor
    level: Tensor
    asked: Tensor
    text: Tensor
    generator: torch.Generator

    def query(self, copies: int) -> QueryInput:
        """Queries for `copies` of the batch, one after the other: sound, words or both, drawn for each."""
        statistics = enrolment_statistics(log_mel(self.asked)).repeat(copies, 1)
        text, rows = self.text.repeat(copies, 1), copies * len(self.wanted)
        has_sound = torch.rand(rows, generator=self.generator) < 0.75
        has_text = (text.abs().sum(1) > 0) & ((torch.rand(rows, generator=self.generator) < 0.4) | ~has_sound)
        return QueryInput(statistics, has_sound | ~has_text, text, has_text)


class Mixed(NamedTuple):
    """What `pair` makes; see `Examples`."""

    log_mel: Tensor
    ratio: Tensor
    target: Tensor
    cross: Tensor


class Mixer:
    """Draws batches from a pool of sources; `embeddings` gives each prompt's sentence embedding [384]."""

    def __init__(self, sources: Sequence[Source], embeddings: Mapping[str, Tensor], seed: int) -> None:
        self._sources = tuple(sources)
        self._wanted = [number for number, one in enumerate(sources) if one.target]
        self._embeddings = embeddings
        self._seed = seed

    def batch(self, step: int, size: int) -> Examples:
        """The examples of this step, in fours; the same for the same seed and step."""
        parts = self.parts_of(step, size)
        mixed = pair(parts.wanted, parts.rest, parts.level, SNR_DB, parts.generator)
        return Examples(mixed.log_mel, parts.query(PAIRINGS), mixed.ratio, mixed.target, mixed.cross)

    def parts_of(self, step: int, size: int) -> Parts:
        """What a batch of `size` is mixed from, where its examples last SEGMENT.

        Shorter ones are more and longer ones fewer, at random by step.
        """
        length, share = LENGTHS[int(numpy_generator(self._seed, 82, step).integers(len(LENGTHS)))]
        return self.parts(step, round(size * share) // PAIRINGS, length)

    def parts(self, step: int, count: int, length: int = SEGMENT) -> Parts:
        """What the batch of this step is mixed from, each `length` samples; the same for the same seed and step."""
        rng = numpy_generator(self._seed, 80, step)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        drawn = [self._draw(rng, length) for _ in range(max(1, count))]
        target, others, enrolment = (torch.from_numpy(np.stack([one[part] for one in drawn])) for part in range(3))
        text = torch.stack([one[3] for one in drawn])
        return _parts(target, others, enrolment, text, generator)

    def _draw(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Tensor]:
        """Target [time], the others' sum [time], enrolment [time] and the prompt's embedding [384] of one example."""
        source = self._sources[int(rng.choice(self._wanted))]
        faulty = len(source.faulty) and rng.random() < FAULTY
        clips = source.faulty if faulty else source.clips
        which = int(rng.integers(len(clips)))
        target = _cut(clips[which], length, rng)
        other = source.clips[int(rng.integers(len(source.clips)))]
        enrolment = _cut(other, ENROLMENT, rng)
        others = self._others(source, length, rng)
        if rng.random() < ABSENT:
            target = np.zeros_like(target)
        prompt = source.prompts[int(rng.integers(len(source.prompts)))] if source.prompts else ""
        return target, others, enrolment, self._embeddings.get(prompt, torch.zeros(TEXT))

    def _others(self, source: Source, length: int, rng: np.random.Generator) -> np.ndarray:
        """What else is heard [time]: one to three other sources at once, or one after the other, and often noise."""
        found = np.zeros(length, dtype=np.float32)
        turns, count = rng.random() < IN_TURNS, int(rng.integers(1, 4))
        edges = np.sort(rng.integers(0, length + 1, count - 1)).tolist()
        for begin, end in zip([0, *edges], [*edges, length], strict=True):
            one = self._sources[int(rng.integers(len(self._sources)))]
            if one.name == source.name:
                continue
            pool = one.clips if not len(one.faulty) or rng.random() < 0.8 else one.faulty
            gain = 10.0 ** (rng.uniform(-12.0 if turns else -8.0, 0.0) / 20.0)
            part = slice(begin, end) if turns else slice(0, length)
            found[part] += gain * _cut(pool[int(rng.integers(len(pool)))], length, rng)[part]
        if rng.random() < 0.2 or not found.any():
            found += coloured_noise(length, rng) * 10.0 ** (rng.uniform(-10.0, 0.0) / 20.0)
        return found


def _parts(target: Tensor, others: Tensor, enrolment: Tensor, text: Tensor, generator: torch.Generator) -> Parts:
    """Level, colour and change: everything about examples that is arithmetic on a batch."""
    count = len(target)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, generator=generator) * (high - low) + low

    level = 10.0 ** (uniform(-45.0, -20.0) / 20.0)
    off_db = torch.where(uniform(0, 1) < 0.4, 2.0 * torch.randn(count, 1, generator=generator), uniform(-15.0, 15.0))
    common = torch.where(uniform(0, 1) < 0.6, random_gains(count, generator, tilt_db=10.0), torch.ones(count, BINS))
    target, changes = with_stand_ins(target * level, STAND_INS, generator)
    wanted = analyse(target) * (common * changes)[:, :, None]
    wanted = torch.where(uniform(0, 1)[:, :, None] < 0.8, wanted * unrest(count, wanted.shape[-1], generator), wanted)
    rest = analyse(others / others.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6))
    asked = power(analyse(enrolment * level * 10.0 ** (off_db / 20.0))) * common[:, :, None].square()
    drift = torch.where(uniform(0, 1) < 0.7, random_gains(count, generator, tilt_db=2.0, bump_db=4.0), 1.0)
    return Parts(wanted, rest, level[:, 0], asked * drift[:, :, None].square(), text, generator)


def pair(wanted: Tensor, rest: Tensor, level: Tensor, snr_db: tuple[float, float], generator: torch.Generator) -> Mixed:
    """Each target with PAIRINGS of the others' sounds, each time with another gain and colour.

    wanted and rest are STFTs [count, bin, frame], rest of RMS 1, level [count] the targets' RMS before they were
    changed. A transform costs as much as all else.
    """
    wanted_power = band_power(wanted)
    mixtures, ratios, crosses = [], [], []
    for other in pairings(rest, level, snr_db, generator):
        other_power = band_power(other)
        mixture = wanted + other
        mixtures.append(log_mel(power(mixture)))
        crosses.append(to_bands(wanted.real * mixture.real + wanted.imag * mixture.imag))
        ratios.append(wanted_power / (wanted_power + other_power).clamp_min(1e-12))
    return Mixed(torch.cat(mixtures), torch.cat(ratios), wanted_power.repeat(PAIRINGS, 1, 1), torch.cat(crosses))


def pairings(rest: Tensor, level: Tensor, snr_db: tuple[float, float], generator: torch.Generator) -> Iterator[Tensor]:
    """PAIRINGS times what the targets of `pair` meet: STFTs [count, bin, frame], each time of other gain and colour."""
    count = len(rest)
    for turn in range(PAIRINGS):
        snr = torch.rand(count, generator=generator) * (snr_db[1] - snr_db[0]) + snr_db[0]
        gain = level * 10.0 ** (-snr / 20.0)
        colour = torch.rand(count, 1, generator=generator) < 0.6
        gains = torch.where(colour, random_gains(count, generator), 1.0) * gain[:, None]
        yield rest.roll(turn, 0) * gains[:, :, None]


def band_power(spectrum: Tensor) -> Tensor:
    """The power of mel bands [batch, mel, frame] of an STFT [batch, bin, frame]."""
    return to_bands(power(spectrum))


def to_bands(of_bins: Tensor) -> Tensor:
    """Sums over the bins of mel bands [batch, mel, frame] of what bins have [batch, bin, frame]."""
    return (of_bins.transpose(1, 2) @ mel_bands(of_bins.device)).transpose(1, 2)


def _cut(clip: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(0, len(clip) - length + 1))
    return clip[start : start + length].astype(np.float32)
