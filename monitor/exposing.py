"""Where training faults come from: naive edits, physics at random, or faults that a prior taught on the machine's body.

Each source gives the same number of sounds, so that they can be compared:

- `naive`: clicks, band noise and louder bands, as anybody would write them in an afternoon;
- `physics`: the makers' faults with everything drawn from the usual ranges, of no machine in particular;
- `adapted`: the same with what is known of this machine (kinematics, and the resonances heard in its healthy sound);
- `sds`: these, taught by the shipped prior and gated, as `factory-ear synthesize` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from detectors.exposure_mix import FaultSound

if TYPE_CHECKING:
    from sds_engine.makers import Physics

Source = Literal["none", "naive", "physics", "adapted", "sds"]
SOURCES: tuple[Source, ...] = ("none", "naive", "physics", "adapted", "sds")
RATE = 16_000  # of makers and prior
SECONDS = 2.0
COUNT = 16
ITERATIONS, DRAWS = 20, 1  # of SDS: a quarter of what `synthesize` takes, since every machine needs its own library


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """Which faults are wanted: kinds of `sds_engine.physics.faults`, how many sounds in all, and what is known.

    `prompt` names the machine, for the prior; `physics` as for makers, see `machine_physics`.
    """

    kinds: tuple[str, ...]
    count: int = COUNT
    seed: int = 0
    prompt: str = "machine"
    physics: Mapping[str, object] = field(default_factory=dict)

    def shares(self) -> dict[str, int]:
        """How many of each kind: as even as can be, the first kinds one more."""
        each, over = divmod(self.count, len(self.kinds))
        return {kind: each + (place < over) for place, kind in enumerate(self.kinds) if each + (place < over)}


def fault_sounds(source: Source, order: FaultOrder) -> list[FaultSound]:
    """The sounds of an order, `order.count` of them; none for `none`. Raises ValueError for an unknown source."""
    if source == "none":
        return []
    if source == "naive":
        return naive_edits(order.count, order.seed)
    if source in ("physics", "adapted"):
        known = order.physics if source == "adapted" else {}
        return [sound for kind, count in order.shares().items() for sound in _made(kind, count, order.seed, known)]
    if source == "sds":
        return _taught(order)
    raise ValueError(f"faults is {source!r}, allowed is one of {', '.join(SOURCES)}")


def kinds_for(prompt: str) -> tuple[str, ...]:
    """The faults that such a machine may have, where the prompt names a kind of machine; else all faults."""
    from sds_engine.physics.faults import FAULT_KINDS, FAULTS
    from sds_engine.priors.captions import MACHINES

    asked = prompt.casefold()
    named = {word: kind for kind, words in MACHINES.items() for word in words if word.casefold() in asked}
    return FAULTS[named[max(named, key=len)]] if named else FAULT_KINDS


def machine_physics(recordings: Sequence[np.ndarray], known: Physics | None = None) -> dict[str, object]:
    """What makers should know of a machine: what line.toml says, and the resonances in its recordings at 16 kHz."""
    from sds_engine.makers import heard_resonances

    physics: dict[str, object] = dict(known or {})
    if recordings:
        physics["resonances"] = heard_resonances([np.asarray(one, dtype=np.float64) for one in recordings], RATE)
    return physics


def naive_edits(count: int, seed: int) -> list[FaultSound]:
    """Clicks, band noise and louder bands in turn."""
    rng = np.random.default_rng([seed, 72])
    edits = (_clicks, _band_noise, _louder_band)
    return [edits[number % len(edits)](rng) for number in range(count)]


def _clicks(rng: np.random.Generator) -> FaultSound:
    """One to twenty clicks a second at random moments, one sample to a millisecond long."""
    wave = np.zeros(round(RATE * SECONDS), dtype=np.float32)
    for _ in range(int(rng.integers(2, 41))):
        length = int(rng.integers(1, 17))
        at = int(rng.integers(len(wave) - length))
        wave[at : at + length] += rng.uniform(0.5, 1.0) * rng.choice([-1.0, 1.0])
    return FaultSound("clicks", torch.from_numpy(wave))


def _corners(rng: np.random.Generator) -> tuple[float, float]:
    low = 100.0 * 40.0 ** rng.uniform()
    return low, min(low * 2.0 ** rng.uniform(0.3, 2.0), 0.49 * RATE)


def _band_noise(rng: np.random.Generator) -> FaultSound:
    """White noise between two corners a third of an octave to two octaves apart."""
    low, high = _corners(rng)
    noise = np.fft.rfft(rng.standard_normal(round(RATE * SECONDS)))
    hz = np.fft.rfftfreq(round(RATE * SECONDS), 1.0 / RATE)
    noise[(hz < low) | (hz >= high)] = 0.0
    return FaultSound("band noise", torch.from_numpy(np.fft.irfft(noise).astype(np.float32)))


def _louder_band(rng: np.random.Generator) -> FaultSound:
    """The machine's own sound between such corners, or all of it, louder."""
    band_hz = (0.0, float(RATE)) if rng.random() < 0.25 else _corners(rng)
    return FaultSound("gain", torch.zeros(0), band_hz)


def _made(kind: str, count: int, seed: int, known: Mapping[str, object]) -> list[FaultSound]:
    """Straight from physics: a maker's starts."""
    from sds_engine.makers import maker_for

    maker = maker_for(kind, RATE, SECONDS)
    with torch.no_grad():
        waves = maker.render(maker.start(count, _seed(kind, seed), **known))  # type: ignore[arg-type]  # checked in start
    return [FaultSound(kind, wave.clone()) for wave in waves]


def _taught(order: FaultOrder) -> list[FaultSound]:
    """A library per kind; where gates leave fewer than asked for, what passed is used more than once."""
    from sds_engine.judges.gate import load_gate
    from sds_engine.priors.shipped import load_prior
    from sds_engine.tasks.library import SETTINGS, Order, make_library

    settings = replace(SETTINGS, iterations=ITERATIONS, draws=DRAWS)
    found: list[FaultSound] = []
    with torch.inference_mode(mode=False), torch.enable_grad():  # whatever the caller has switched off
        prior, gate = load_prior(None).prior, load_gate()
        for kind, count in order.shares().items():
            prompt = f"{kind.replace('_', ' ')} fault, {order.prompt}"
            ask = Order(prompt, kind, count, _seed(kind, order.seed), order.physics)  # type: ignore[arg-type]  # as above
            sounds = make_library(ask, prior, gate, settings).sounds
            own = [FaultSound(kind, sound.wave.detach().clone()) for sound in sounds]
            found += [own[number % len(own)] for number in range(count)] if own else []
    if not found:
        raise ValueError(f"no fault sound of {', '.join(order.kinds)} passed the gates: use physics instead of sds")
    return [found[number % len(found)] for number in range(order.count)]


def _seed(kind: str, seed: int) -> int:
    """A start that no other kind has."""
    return 1_000_000 * (1 + seed) + 10_000 * (1 + sum(map(ord, kind)) % 97)
