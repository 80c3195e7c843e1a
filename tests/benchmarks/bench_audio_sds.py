"""What Audio-SDS is worth with the shipped prior: `python tests/benchmarks/bench_audio_sds.py [--parts samples,teach]`.

writes docs/benchmarks/audio-sds.md and audio-sds.json, and docs/pictures/audio-sds.png. The gate's judge stops and
chooses; the reporting judge, of other code and other sounds, reports. Prompts were committed before the prior.

- samples: the prior's own samples under seen prompts, paraphrases and Japanese.
- teach: 10 fault prompts x 16 seeds: the maker's start, the best of SCREEN starts, SDS from there, and best-of-N random
  physics at the same processor time.
- rejudge: what teach kept in build/audio-sds, by the reporting judge of today.
- ablate: encoder against decoder, 1 and 4 steps, emphasis on and off, guidance, on four prompts, half the iterations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting.judge import load_reporting
from safetensors.torch import load_file, save_file
from sds_tables import page, picture

from sds_engine.judges.gate import load_gate
from sds_engine.makers import Params, maker_for
from sds_engine.makers.base import Maker
from sds_engine.physics.faults import FAULT_KINDS
from sds_engine.priors import logmel
from sds_engine.priors.denoiser import Denoiser
from sds_engine.priors.shipped import load_prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise
from sds_engine.tasks.library import SETTINGS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks"
HELD = PAGE / "audio-sds.json"
KEPT = ROOT / "build" / "audio-sds"
PROMPTS = Path(__file__).parent / "reporting"
SEEDS = list(range(31_000, 31_016))  # of no other use
KINDS = list(FAULT_KINDS)
AMONG = 4  # samples of the prior, of which the gate's favourite is taken, where that is said
SCREEN = 16  # random starts for each sound, of which the gate's favourite is taught
ABLATED = ("outer_race", "ball", "belt_squeal", "rattle")


class Bench:
    """The prior, both judges and the prompts."""

    def __init__(self) -> None:
        self.shipped = load_prior()
        self.prior = replace(self.shipped.prior, denoiser=brief(self.shipped.prior.denoiser))
        self.shipped = replace(self.shipped, prior=self.prior)
        self.gate, self.reporting = load_gate(), load_reporting()
        self.prompts = json.loads((PROMPTS / "prompts.json").read_text(encoding="utf-8"))["kinds"]
        self.second, self.third = (
            json.loads((PROMPTS / name).read_text(encoding="utf-8"))["kinds"]
            for name in ("prompts_2.json", "prompts_3.json")
        )

    def report(self, wave: torch.Tensor) -> torch.Tensor:
        return self.reporting.probabilities(wave)

    def reported(self, kind: str, wave: torch.Tensor) -> torch.Tensor:
        return self.report(wave)[:, self.reporting.classes.index(kind)]

    def gated(self, kind: str, wave: torch.Tensor) -> torch.Tensor:
        return self.gate.probabilities(wave)[:, self.gate.index(kind)]

    # samples of the prior ---------------------------------------------------------------------------------------
    def samples(self, each: int) -> Iterator[dict[str, Any]]:
        """Accuracy of both judges for each kind and each sort of prompt: {sort: {kind: {...}}}."""
        found: dict[str, Any] = {}
        for sort, source, key in (
            ("seen", self.prompts, "canonical"),
            ("paraphrased, second set", self.second, "en"),
            ("Japanese, second set", self.second, "ja"),
            ("paraphrased, third set", self.third, "en"),
            ("Japanese, third set", self.third, "ja"),
            ("paraphrased, first set", self.prompts, "en"),
            ("Japanese, first set", self.prompts, "ja"),
        ):
            found[sort] = {kind: self._sampled(kind, source[kind][key], each) for kind in [*KINDS, "healthy"]}
            print(sort, np.mean([row["reporting"] for row in found[sort].values()]), flush=True)
            yield found
        best = {k: self._sampled(k, self.prompts[k]["canonical"], each, AMONG) for k in [*KINDS, "healthy"]}
        found[f"seen, the gate's choice of {AMONG}"] = best
        yield found

    def _sampled(self, kind: str, prompts: str | list[str], each: int, among: int = 1) -> dict[str, float]:
        """Samples under these prompts in turn; with `among`, of so many the one that the gate takes for the kind."""
        texts = [prompts] if isinstance(prompts, str) else prompts
        asked = [texts[i // among % len(texts)] for i in range(each * among)]
        wave = self.shipped.sample(self.prior.embed(asked), list(range(41_000, 41_000 + len(asked))))
        if among > 1:
            liked = self.gated(kind, wave).reshape(each, among).argmax(1)
            wave = wave.reshape(each, among, -1)[torch.arange(each), liked]
        said = self.report(wave).argmax(1) == self.reporting.classes.index(kind)
        gate = self.gate.probabilities(wave).argmax(1) == self.gate.index(kind)
        return {"reporting": float(said.float().mean()), "gate": float(gate.float().mean()), "count": each}

    # teaching ----------------------------------------------------------------------------------------------------
    def screened(self, maker: Maker, seeds: list[int], count: int) -> Params:
        """For each seed its own start or one of count - 1 other starts of physics, whichever the gate likes best."""
        chosen = []
        for seed in seeds:
            several = [seed, *(1_000_000 + 1_000 * seed + number for number in range(1, count))]
            with torch.no_grad():
                chosen.append(several[int(self.gated(maker.kind, maker.render(maker.start(count, several))).argmax())])
        return maker.start(len(seeds), chosen)

    def taught(self, kind: str, settings: SdsSettings, seeds: list[int], screen: int = 1) -> dict[str, Any]:
        """SDS from each seed's start, or the best of some; the gate keeps a moment, the reporting judge reports."""
        maker = maker_for(kind, self.prior.rate, self.prior.seconds)
        began = time.process_time()
        first = maker.start(len(seeds), seeds)
        start = self.screened(maker, seeds, screen) if screen > 1 else first
        conditions = self.prior.embed([self.prompts[kind]["canonical"]]).expand(len(seeds), -1)
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
            before, picked, after, last = (maker.render(p) for p in (first, start, done.best, done.params))
        return {
            "start": self.reported(kind, before).tolist(),
            "screened": self.reported(kind, picked).tolist(),
            "sds": self.reported(kind, after).tolist(),
            "sds_last": self.reported(kind, last).tolist(),
            "gate_start": self.gated(kind, before).tolist(),
            "gate_sds": self.gated(kind, after).tolist(),
            "iteration": done.best_iteration.tolist(),
            "spread_start": spread(before),
            "spread_sds": spread(after),
            "seconds_each": spent / len(seeds),
            "rate_error": rate_error(maker.physical(start), maker.physical(done.best)),
            "waves": {"start": before, "screened": picked, "sds": after, "sds_last": last},
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
            "wave_best_of": stacked,
        }

    def teach(self) -> Iterator[dict[str, Any]]:
        """Every fault prompt, 16 seeds."""
        found = {}
        for kind in KINDS:
            row = self.taught(kind, SETTINGS, SEEDS, SCREEN)
            row |= self.best_of(kind, row["seconds_each"], SEEDS)
            waves = row.pop("waves") | {"best_of": row.pop("wave_best_of")}
            KEPT.mkdir(parents=True, exist_ok=True)
            save_file({name: wave.contiguous() for name, wave in waves.items()}, KEPT / f"{kind}.safetensors")
            found[kind] = row
            names = ("start", "screened", "sds", "best_of")
            print(kind, {name: round(float(np.median(row[name])), 3) for name in names}, flush=True)
            yield found

    def rejudge(self, rows: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The table of `teach` again by the reporting judge of today, from the sounds that were kept."""
        for kind, row in rows.items():
            waves = load_file(KEPT / f"{kind}.safetensors")
            row |= {name: self.reported(kind, wave).tolist() for name, wave in waves.items()}
        yield rows

    def ablate(self) -> Iterator[dict[str, Any]]:
        """The paper's ablations: {variant: {kind: row}}, 8 seeds."""
        variants: dict[str, SdsSettings] = {
            "as shipped": SETTINGS,
            "4 steps": replace(SETTINGS, steps=4),
            "no guidance (tau 0)": replace(SETTINGS, guidance=0.0),
            "guidance alone (baseline null)": replace(SETTINGS, baseline="null"),
            "t falls": replace(SETTINGS, schedule="falling"),
            "SDI": replace(SETTINGS, start="inversion"),
            "decoder-SDS, emphasis, 1 step": replace(SETTINGS, kind="decoder"),
            "decoder-SDS, emphasis, 4 steps": replace(SETTINGS, kind="decoder", steps=4),
            "decoder-SDS, waveform, 1 step": replace(SETTINGS, kind="decoder", windows=()),
        }
        found: dict[str, Any] = {}
        for name, settings in variants.items():
            brief_ones = replace(settings, iterations=settings.iterations // 2)
            found[name] = {kind: self.taught(kind, brief_ones, SEEDS[:8]) for kind in ABLATED}
            for row in found[name].values():
                row.pop("waves")
            print(name, [round(float(np.median(r["sds_last"])), 3) for r in found[name].values()], flush=True)
            yield found


def brief(denoiser: Denoiser) -> Denoiser:
    """The denoiser in bfloat16 where the processor has it: half the time."""
    if not torch.cpu._is_avx512_bf16_supported():
        return denoiser

    def denoise(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return denoiser(x, sigma, condition).float()

    return denoise


def spread(wave: torch.Tensor) -> float:
    """How different sounds are: mean distance in dB of mean and deviation per band between all pairs."""
    db = logmel.relative_db(logmel.mel_power(wave))
    features = torch.cat([db.mean(dim=1), db.std(dim=1)], dim=1)
    return float(torch.pdist(features).mean() / features.shape[1] ** 0.5)


def rate_error(known: dict[str, torch.Tensor], taught: dict[str, torch.Tensor]) -> float | None:
    """How far teaching moved the rate of blows from what shaft and bearing say, relative: median; None without one."""
    if "blows_hz" not in known:
        return None
    return float((taught["blows_hz"] / known["blows_hz"] - 1.0).abs().median())


def held() -> dict[str, Any]:
    """What was measured so far."""
    return dict(json.loads(HELD.read_text(encoding="utf-8"))) if HELD.exists() else {}


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--parts", default="samples,teach,ablate")
    args.add_argument("--each", type=int, default=16, help="samples per kind and sort of prompt")
    args.add_argument("--threads", type=int, default=1)
    given = args.parse_args()
    torch.set_num_threads(given.threads)
    bench = Bench()
    parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "samples": lambda: bench.samples(given.each),
        "teach": bench.teach,
        "rejudge": lambda: bench.rejudge(held()["teach"]),
        "ablate": bench.ablate,
    }
    for name in given.parts.split(","):
        rows: dict[str, Any] = {}
        for rows in parts[name]():
            # read anew: another part may have run beside
            found = held() | {"teach" if name == "rejudge" else name: rows, "prior": bench.prior.digest[:12]}
            HELD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            (PAGE / "audio-sds.md").write_text(page(found), encoding="utf-8")
        if name in ("teach", "rejudge"):
            kept = {kind: load_file(KEPT / f"{kind}.safetensors") for kind in rows}
            picture({k: (waves["start"][0], waves["sds"][0]) for k, waves in kept.items()}, ROOT / "docs" / "pictures")
    print(page(held()))


if __name__ == "__main__":
    main()
