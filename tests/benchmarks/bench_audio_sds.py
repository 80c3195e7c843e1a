"""What Audio-SDS is worth with the shipped prior: `python tests/benchmarks/bench_audio_sds.py [--parts samples,teach]`.

writes docs/benchmarks/audio-sds.md and audio-sds.json, and docs/pictures/audio-sds.png. The gate's judge stops and
chooses; the reporting judge, of other code and other sounds, reports. Prompts were committed before the prior.

- samples: the prior's own samples under seen prompts, paraphrases and Japanese.
- teach: 10 fault prompts x 16 seeds: the maker's start, SDS, and best-of-N random physics at the same processor time.
- ablate: encoder against decoder, 1, 2 and 10 steps, emphasis on and off, guidance, on four prompts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting.judge import load_reporting
from sds_tables import page, picture

from sds_engine.judges.gate import load_gate
from sds_engine.makers import maker_for
from sds_engine.physics.faults import FAULT_KINDS
from sds_engine.priors import logmel
from sds_engine.priors.shipped import load_prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise
from sds_engine.tasks.library import SETTINGS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks"
PROMPTS = Path(__file__).parent / "reporting"
SEEDS = list(range(31_000, 31_016))  # of no other use
KINDS = list(FAULT_KINDS)
ABLATED = ("outer_race", "ball", "belt_squeal", "rattle")


class Bench:
    """The prior, both judges and the prompts."""

    def __init__(self) -> None:
        self.shipped = load_prior()
        self.prior = self.shipped.prior
        self.gate, self.reporting = load_gate(), load_reporting()
        self.prompts = json.loads((PROMPTS / "prompts.json").read_text(encoding="utf-8"))["kinds"]
        second = PROMPTS / "prompts_2.json"
        self.second = json.loads(second.read_text(encoding="utf-8"))["kinds"] if second.exists() else {}

    def report(self, wave: torch.Tensor) -> torch.Tensor:
        return self.reporting.probabilities(wave)

    def reported(self, kind: str, wave: torch.Tensor) -> torch.Tensor:
        return self.report(wave)[:, self.reporting.classes.index(kind)]

    def gated(self, kind: str, wave: torch.Tensor) -> torch.Tensor:
        return self.gate.probabilities(wave)[:, self.gate.index(kind)]

    # samples of the prior ---------------------------------------------------------------------------------------
    def samples(self, each: int) -> dict[str, Any]:
        """Accuracy of both judges for each kind and each sort of prompt: {sort: {kind: {...}}}."""
        found: dict[str, Any] = {}
        for sort, source, key in (
            ("seen", self.prompts, "canonical"),
            ("paraphrased", self.prompts, "en"),
            ("Japanese", self.prompts, "ja"),
            ("paraphrased, second set", self.second, "en"),
            ("Japanese, second set", self.second, "ja"),
        ):
            if source:
                found[sort] = {kind: self._sampled(kind, source[kind][key], each) for kind in [*KINDS, "healthy"]}
                print(sort, np.mean([row["reporting"] for row in found[sort].values()]), flush=True)
        return found

    def _sampled(self, kind: str, prompts: str | list[str], each: int) -> dict[str, float]:
        texts = [prompts] if isinstance(prompts, str) else prompts
        asked = [texts[i % len(texts)] for i in range(each)]
        wave = self.shipped.sample(self.prior.embed(asked), list(range(41_000, 41_000 + each)))
        said = self.report(wave).argmax(1) == self.reporting.classes.index(kind)
        gate = self.gate.probabilities(wave).argmax(1) == self.gate.index(kind)
        return {"reporting": float(said.float().mean()), "gate": float(gate.float().mean()), "count": each}

    # teaching ----------------------------------------------------------------------------------------------------
    def taught(self, kind: str, settings: SdsSettings, seeds: list[int]) -> dict[str, Any]:
        """SDS from each seed's start; the gate says which moment is kept, the reporting judge reports."""
        maker = maker_for(kind, self.prior.rate, self.prior.seconds)
        start = maker.start(len(seeds), seeds)
        conditions = self.prior.embed([self.prompts[kind]["canonical"]]).expand(len(seeds), -1)
        began = time.process_time()
        done = optimise(
            maker,
            start,
            self.prior,
            Ask(conditions),
            settings,
            SeededNoise(seeds),
            judge=lambda wave: self.gated(kind, wave),
        )
        spent = time.process_time() - began
        with torch.no_grad():
            before, after, last = (maker.render(p) for p in (start, done.best, done.params))
        return {
            "start": self.reported(kind, before).tolist(),
            "sds": self.reported(kind, after).tolist(),
            "sds_last": self.reported(kind, last).tolist(),
            "gate_start": self.gated(kind, before).tolist(),
            "gate_sds": self.gated(kind, after).tolist(),
            "spread_start": spread(before),
            "spread_sds": spread(after),
            "seconds_each": spent / len(seeds),
            "rate_error_start": rate_error(maker.physical(start)),
            "rate_error_sds": rate_error(maker.physical(done.best)),
            "waves": (before[0], after[0]),
        }

    def best_of(self, kind: str, seconds_each: float, seeds: list[int]) -> dict[str, Any]:
        """For each seed the best of as many random physics draws as the same processor time allows, by the gate."""
        maker = maker_for(kind, self.prior.rate, self.prior.seconds)
        best, waves, draws = [], [], 0
        for number, _ in enumerate(seeds):
            began, top, kept, drawn = time.process_time(), -1.0, None, 0
            while time.process_time() - began < seconds_each or kept is None:
                with torch.no_grad():
                    wave = maker.render(maker.start(16, 500_000 + 10_000 * number + drawn))
                chosen = self.gated(kind, wave)
                drawn += 16
                if float(chosen.max()) > top:
                    top, kept = float(chosen.max()), wave[int(chosen.argmax())]
            best.append(top)
            waves.append(kept)
            draws += drawn
        stacked = torch.stack([wave for wave in waves if wave is not None])
        return {
            "best_of": self.reported(kind, stacked).tolist(),
            "gate_best_of": best,
            "draws_each": draws / len(seeds),
            "spread_best_of": spread(stacked),
        }

    def teach(self) -> dict[str, Any]:
        """Every fault prompt, 16 seeds."""
        found = {}
        for kind in KINDS:
            row = self.taught(kind, SETTINGS, SEEDS)
            row |= self.best_of(kind, row["seconds_each"], SEEDS)
            found[kind] = row
            names = ("start", "sds", "best_of")
            print(kind, {name: round(float(np.median(row[name])), 3) for name in names}, flush=True)
        return found

    def ablate(self) -> dict[str, Any]:
        """The paper's ablations: {variant: {kind: row}}, 8 seeds."""
        variants: dict[str, SdsSettings] = {
            "as shipped": SETTINGS,
            "encoder-SDS": replace(SETTINGS, kind="encoder"),
            "no emphasis": replace(SETTINGS, windows=()),
            "1 step": replace(SETTINGS, steps=1),
            "10 steps": replace(SETTINGS, steps=10),
            "no guidance (tau 0)": replace(SETTINGS, guidance=0.0),
            "t falls": replace(SETTINGS, schedule="falling"),
        }
        found: dict[str, Any] = {}
        for name, settings in variants.items():
            found[name] = {kind: self.taught(kind, settings, SEEDS[:8]) for kind in ABLATED}
            for row in found[name].values():
                row.pop("waves")
            print(name, [round(float(np.median(r["sds_last"])), 3) for r in found[name].values()], flush=True)
        return found


def spread(wave: torch.Tensor) -> float:
    """How different sounds are: mean distance in dB of mean and deviation per band between all pairs."""
    db = logmel.relative_db(logmel.mel_power(wave))
    features = torch.cat([db.mean(dim=1), db.std(dim=1)], dim=1)
    return float(torch.pdist(features).mean() / features.shape[1] ** 0.5)


def rate_error(physical: dict[str, torch.Tensor]) -> float | None:
    """How far the maker's fault rate is from what its shaft and bearing say, relative: median; None without a rate."""
    for name in ("bpfo_hz", "bpfi_hz", "bsf_hz"):
        if name in physical and "rate_hz" in physical:
            return float(((physical["rate_hz"] - physical[name]) / physical[name]).abs().median())
    return None


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--parts", default="samples,teach,ablate")
    args.add_argument("--each", type=int, default=16, help="samples per kind and sort of prompt")
    args.add_argument("--threads", type=int, default=2)
    given = args.parse_args()
    torch.set_num_threads(given.threads)
    bench = Bench()
    path = PAGE / "audio-sds.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "samples": lambda: bench.samples(given.each),
        "teach": bench.teach,
        "ablate": bench.ablate,
    }
    for name in given.parts.split(","):
        found[name] = parts[name]()
        if name == "teach":
            picture({kind: row.pop("waves") for kind, row in found[name].items()}, ROOT / "docs" / "pictures")
        found["prior"] = bench.prior.digest[:12]
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (PAGE / "audio-sds.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
