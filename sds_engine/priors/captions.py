"""Training captions: phrases of `captions.tsv` with machines, textures and places, in English and Japanese."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources

import numpy as np

MACHINES: Mapping[str, tuple[str, ...]] = {
    "fan": ("fan", "industrial fan", "ventilator", "ファン", "送風機"),
    "pump": ("pump", "water pump", "centrifugal pump", "ポンプ"),
    "gearbox": ("gearbox", "gear unit", "reducer", "減速機", "ギヤボックス"),
    "press": ("press", "stamping press", "プレス機"),
    "conveyor": ("conveyor", "belt conveyor", "コンベヤ"),
    "compressor": ("compressor", "air compressor", "コンプレッサー"),
}
_ALONE = ("", "", "", "sound of ", "recording of ", "noise of ")
_WITH = ("{s} on a {m}", "{m} with {s}", "{m}: {s}", "{s} in a {m}", "{m}, {s}")
_WITH_JA = ("{m}、{s}", "{m}の{s}")
_HALL = ("", "", "", "", " in a factory", " in a noisy hall", " with background noise")


@functools.cache
def phrases() -> Mapping[str, tuple[str, ...]]:
    """Each subject and how people may call it."""
    lines = resources.files("sds_engine.priors").joinpath("captions.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {subject: tuple(phrase for s, phrase in rows if s == subject) for subject, _ in rows}


def draw_captions(subject: str, machine: str, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different captions of a subject, on a machine where one is named; fewer where there are fewer.

    The bare phrases come first. Raises ValueError for a subject without phrases or an unknown machine.
    """
    if subject not in phrases():
        raise ValueError(f"no phrase for {subject!r}: add a line to captions.tsv")
    if machine and machine not in MACHINES:
        raise ValueError(f"machine is {machine!r}, allowed is one of {', '.join(MACHINES)} or nothing")
    drawn = dict.fromkeys([] if machine else phrases()[subject])
    for _ in range(20 * count):
        if len(drawn) >= count:
            break
        drawn.setdefault(_one(subject, machine, rng))
    return list(drawn)[:count]


def _one(subject: str, machine: str, rng: np.random.Generator) -> str:
    phrase = _pick(phrases()[subject], rng)
    if not phrase.isascii():
        japanese = [name for name in MACHINES.get(machine, ()) if not name.isascii()]
        return _pick(_WITH_JA, rng).format(m=_pick(tuple(japanese), rng), s=phrase) if japanese else phrase
    if machine:
        english = tuple(name for name in MACHINES[machine] if name.isascii())
        phrase = _pick(_WITH, rng).format(m=_pick(english, rng), s=phrase)
    return _pick(_ALONE, rng) + phrase + _pick(_HALL, rng)


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
