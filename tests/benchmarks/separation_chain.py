"""The table that decides: one detector on raw, separated and all paths, and behind the ideal ratio mask.

Each detector is fitted once for each path of each chain; the full chain joins those fits (`detectors.paths.Worst`).
Figures are means over seeds; intervals are bootstraps over recordings, drawn alike for all rows and all seeds, since
the same recordings come back with every seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.aggregate import clips_evidence
from detectors.base import Evidence
from detectors.calibrate import calibrate
from detectors.frontend import FrontEnd
from detectors.paths import PATHS, Worst, machine_share, path_detector
from detectors.recordings import stack
from monitor import roc
from monitor.evaluate_machine import RATE, Heard, hear_machine
from monitor.manifest import Manifest, Row, read_manifest
from monitor.site_sound import SiteRecordings, adapted_stage, enhanced_stage
from monitor.stages import MaskStage, Separator, paths_of
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.extractor import load_extractor
from streams.soundfiles import read_clip

ROWS = (
    "raw",
    "separated, not adapted",
    "full, not adapted",
    "separated, adapted",
    "full, adapted",
    "enhanced, adapted",
    "full with Ex-Diff, adapted",
    "ideal ratio mask",
    "ideal ratio mask, sound only",
)
RAW, ORACLE, ORACLE_SOUND = ROWS[0], ROWS[-2], ROWS[-1]
CHAINS = {"not adapted": ROWS[1:3], "adapted": ROWS[3:5], "enhanced": ROWS[5:7]}  # the processed path, the full chain
FULL, ENHANCED = ROWS[4], ROWS[6]
NOMINAL = 0.1
Both = tuple[Evidence, Evidence]  # healthy training contexts, test contexts
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Scores of one set: by row [file], what the files are, and how many healthy ones alarm at NOMINAL."""

    scores: dict[str, Array]
    false_alarms: dict[str, float]
    test: roc.TestSet

    def save(self, path: Path) -> None:
        """As one npz file, so that a long benchmark goes on where it stopped."""
        rows = {f"score/{name}": score for name, score in self.scores.items()}
        alarms = {f"alarm/{name}": np.array(value) for name, value in self.false_alarms.items()}
        test = {"anomaly": self.test.anomaly, "domain": self.test.domain, "recording": self.test.recording}
        np.savez(path, **rows, **alarms, **test)

    @classmethod
    def load(cls, path: Path) -> Measured:
        """The same again."""
        with np.load(path) as kept:
            scores = {key[6:]: kept[key] for key in kept.files if key.startswith("score/")}
            alarms = {key[6:]: float(kept[key]) for key in kept.files if key.startswith("alarm/")}
            return cls(scores, alarms, roc.TestSet(kept["anomaly"], kept["domain"], kept["recording"]))


def rows_of(manifest: Manifest, split: str, labels: Sequence[str]) -> list[Row]:
    return [row for row in manifest.rows if row.split == split and row.label in labels]


def sounds(rows: Sequence[Row]) -> list[Tensor]:
    return [torch.from_numpy(read_clip(row.file, rate=RATE)) for row in rows]


def tested(heard: Heard) -> Evidence:
    """All test contexts in the order of the files, each file being one context."""
    whole = stack([batch.evidence for batch in heard.batches])
    files = torch.cat([batch.file for batch in heard.batches])
    if len(whole) != len(files.unique()):
        raise SystemExit("test files are longer than one context: this table takes files of 10 s")
    return whole.rows(files.argsort())


def ideal_share(manifest: Manifest, rows: Sequence[Row]) -> Tensor:
    """The true share of the machine in every cell [file, mel, frame], from its own part of each mixture."""
    front_end, parts = FrontEnd.at(RATE), []
    for row in rows:
        mixture, own = (torch.from_numpy(read_clip(path, rate=RATE)) for path in (row.file, row.reference))
        heard = [clips_evidence([sound], front_end, 2 * RATE, 5)[0].log_mel for sound in (own, mixture - own)]
        machine, rest = (10.0 ** (level / 10.0) for level in heard)
        parts.append(machine / (machine + rest))
    return torch.cat(parts)


def stages(manifest: Manifest, minutes: float, steps: int, seed: int) -> dict[str, Separator]:
    """The shipped network as it is, adapted to the site (training rows `clean` and `background`), with Ex-Diff."""
    clean, background = (sounds(rows_of(manifest, "train", [label])) for label in ("clean", "background"))
    shipped = MaskStage(load_extractor()[0].net, site_statistics(clean))
    site = SiteRecordings(clean, background)
    adapted, _ = adapted_stage(site, minutes=minutes, steps=steps, seed=seed)
    enhanced, _ = enhanced_stage(adapted, site, minutes=minutes, steps=steps, seed=seed)
    return {"not adapted": shipped, "adapted": adapted, "enhanced": enhanced}


def chains(manifest: Manifest, heard: Heard, made: Mapping[str, Separator]) -> dict[str, dict[str, Both]]:
    """By chain (a stage's name, or the oracle), its paths as training and test contexts."""
    test = tested(heard)
    found: dict[str, dict[str, Both]] = {}
    for name, stage in made.items():
        taught = stage.learned(heard.train)
        learn, judge = taught(heard.train), taught(test)
        found[name] = {path: (learn[path], judge[path]) for path in PATHS}
    labels = ("normal", "anomaly")
    shares = [ideal_share(manifest, rows_of(manifest, split, labels)) for split in ("train", "test")]
    cell = paths_of(heard.train, shares[0])["separated"]
    usual = (cell.confidence * cell.log_mel).sum((0, 2)) / cell.confidence.sum((0, 2))
    both = [paths_of(one, share, usual)["separated"] for one, share in zip((heard.train, test), shares, strict=True)]
    masked = [paths_of(one, share)["separated"] for one, share in zip((heard.train, test), shares, strict=True)]
    plain = [replace(one, confidence=torch.ones_like(one.log_mel)) for one in masked]
    found[ORACLE] = {"separated": (both[0], both[1])}
    found[ORACLE_SOUND] = {"separated": (plain[0], plain[1])}
    return found


@torch.inference_mode()
def measure(manifest_path: Path, detector: str, minutes: float, steps: int, seed: int) -> Iterator[Measured]:
    """Every row's scores of one set, for one detector after the other (names with commas between them)."""
    manifest = read_manifest(manifest_path)
    heard = hear_machine(manifest, manifest.machines()[0], seed, fine=True)
    with torch.inference_mode(mode=False):
        made = stages(manifest, minutes, steps, seed)
    found = chains(manifest, heard, made)
    for name in detector.split(","):
        yield _judged(name, heard, found)


def _judged(name: str, heard: Heard, found: Mapping[str, Mapping[str, Both]]) -> Measured:
    groups = heard.train_group
    healthy: dict[str, Tensor] = {}
    scores: dict[str, Tensor] = {}

    def fitted(both: Both, path: str = "separated") -> tuple[Tensor, Tensor]:
        detector = path_detector(name, path)
        return detector.cross_fit(both[0], groups), detector.score(both[1])

    healthy[RAW], scores[RAW] = fitted(found["adapted"]["raw"], "raw")
    for chain, (row, full) in CHAINS.items():
        healthy[row], scores[row] = fitted(found[chain]["separated"])
        residual = fitted(found[chain]["residual"], "residual")
        learned = torch.stack([healthy[RAW], healthy[row], residual[0]])
        share = machine_share({path: both[0] for path, both in found[chain].items()})
        worst, healthy[full] = Worst.settled({}, learned, share)
        scores[full] = worst.join(torch.stack([scores[RAW], scores[row], residual[1]]))[0]
    for row in (ORACLE, ORACLE_SOUND):
        healthy[row], scores[row] = fitted(found[row]["separated"])
    normal = torch.from_numpy(~heard.test.anomaly)
    alarms = {
        row: float((calibrate(healthy[row], groups)(scores[row]).score[normal] >= -np.log10(NOMINAL)).double().mean())
        for row in ROWS
    }
    return Measured({row: scores[row].numpy() for row in ROWS}, alarms, heard.test)


def drawn(sets: Sequence[Measured], replicates: int = roc.REPLICATES) -> list[Array]:
    """Weights of files [replicate, file] for each set: recordings drawn anew, the same draw for all sets."""
    generator = np.random.default_rng(0)
    counts: dict[str, Array] = {}
    for kind in (False, True):
        names = sorted({name for one in sets for name in one.test.recording[one.test.anomaly == kind]})
        table = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
        counts |= {name: table[:, place].astype(float) for place, name in enumerate(names)}
    return [np.stack([counts[name] for name in one.test.recording], axis=1) for one in sets]


def officials(sets: Sequence[Measured], row: str, weights: Sequence[Array]) -> Array:
    """The official score [replicate], the mean over sets."""
    with np.errstate(invalid="ignore", divide="ignore"):
        each = [
            roc.over_machines([one.scores[row]], [one.test], [weight])[2]
            for one, weight in zip(sets, weights, strict=True)
        ]
    return np.asarray(np.nanmean(each, axis=0))


def summary(sets: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """By row: official score, its interval, the paired one to raw, the share of the gap to the oracle, false alarms."""
    flat = [np.ones((1, len(one.test.anomaly))) for one in sets]
    weights = drawn(sets)
    plain = {row: float(officials(sets, row, flat)[0]) for row in ROWS}
    many = {row: officials(sets, row, weights) for row in ROWS}
    found: dict[str, dict[str, Any]] = {}
    more = roc.interval(many[ENHANCED] - many[FULL])
    for row in ROWS:
        gain, gap = many[row] - many[RAW], many[ORACLE] - many[RAW]
        sound = plain[ORACLE_SOUND] - plain[RAW]
        found[row] = {
            "official": plain[row],
            "ci": roc.interval(many[row]),
            "by_seed": [float(officials([one], row, [whole])[0]) for one, whole in zip(sets, flat, strict=True)],
            "paired": roc.interval(gain),
            "closed": (plain[row] - plain[RAW]) / (plain[ORACLE] - plain[RAW]),
            "closed_ci": roc.interval(gain / gap),
            "closed_sound": (plain[row] - plain[RAW]) / sound,
            "false_alarms": float(np.mean([one.false_alarms[row] for one in sets])),
        }
    found[ENHANCED]["over_full"] = {"official": plain[ENHANCED] - plain[FULL], "ci": more}
    return found


def table_of(options: argparse.Namespace, make_set: Callable[[Path, float, str, int], Path]) -> dict[str, Any]:
    """Measure every set that `options.work` has no scores of, and sum up: detector -> level -> row."""
    with tempfile.TemporaryDirectory() as spare:
        work = options.work or Path(spare)
        work.mkdir(parents=True, exist_ok=True)
        names = options.detectors.split(",")
        found: dict[str, dict[str, Any]] = {name: {} for name in names}
        for level in options.levels:
            for seed in range(options.seeds):
                _measure_set(options, make_set, level, seed, work)
            for name in names:
                sets = [Measured.load(work / _kept_as(name, level, seed)) for seed in range(options.seeds)]
                found[name][f"{level:g}"] = summary(sets)
        about = {"seeds": options.seeds, "minutes": options.minutes, "steps": options.steps}
        return {"found": found, "about": about | {"extractor_steps": load_extractor()[1]["steps"]}}


def _kept_as(detector: str, level: float, seed: int) -> str:
    return f"{detector}_{level:g}_{seed}.npz"


def _measure_set(options: argparse.Namespace, make_set: Any, level: float, seed: int, work: Path) -> None:
    wanted = [name for name in options.detectors.split(",") if not (work / _kept_as(name, level, seed)).exists()]
    if not wanted:
        return
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_set(options.tool, level, folder, seed)
        results = measure(manifest, ",".join(wanted), options.minutes, options.steps, seed)
        for name, one in zip(wanted, results, strict=True):
            one.save(work / _kept_as(name, level, seed))


def _cell(one: Mapping[str, Any], row: str) -> str:
    text = f"{one['official']:.3f} [{one['ci'][0]:.2f}, {one['ci'][1]:.2f}]"
    if row != RAW:
        text += f", {one['paired'][0]:+.3f}..{one['paired'][1]:+.3f}"
    return text if row in (RAW, ORACLE, ORACLE_SOUND) else f"{text}, {one['closed']:.0%} / {one['closed_sound']:.0%}"


def section(kept: Mapping[str, Any]) -> str:
    """The table of the page."""
    about, lines = kept["about"], []
    for detector, levels in kept["found"].items():
        lines += [f"**{detector}**", ""]
        heads = [f"{level} dB ({len(found[RAW]['by_seed'])} seeds)" for level, found in levels.items()]
        lines += ["| | " + " | ".join(heads) + " | false alarms at 0.1 |"]
        lines += ["|---|" + "---:|" * (len(levels) + 1)]
        for row in (row for row in ROWS if all(row in found for found in levels.values())):
            cells = [_cell(found[row], row) for found in levels.values()]
            alarms = " / ".join(f"{found[row]['false_alarms']:.2f}" for found in levels.values())
            lines.append(f"| {row} | " + " | ".join(cells) + f" | {alarms} |")
        over = [
            f"{one['official']:+.3f} [{one['ci'][0]:+.3f}, {one['ci'][1]:+.3f}]"
            for one in (found[ENHANCED]["over_full"] for found in levels.values() if ENHANCED in found)
        ]
        lines += ["", f"What Ex-Diff adds to the full chain, with paired 95% intervals: {'; '.join(over)}.", ""]
    table = "\n".join(lines)
    return f"""## Does it help to find faults?

Official score of DCASE Task 2 (harmonic mean of AUC source, AUC target and pAUC), mean over seeds of the
set, with 95% intervals over recordings; then the paired interval of the difference to raw sound on the same files;
then how much of the gap from raw sound to the ideal ratio mask is closed, the truth as a mask: weighted and leaning as
the separated path is / as sound only, without weights. `separated`: the masked sound, weighted by the squared mask;
`full`: raw sound and residual besides, as `run` computes it. `enhanced`: Ex-Diff goes on from the extractor's mask, and
the spread of its posterior weights the sound too. `adapted`: at most {about["steps"]} steps or
{about["minutes"]:g} minutes on the training rows clean and background, one thread; not adapted: the network as it comes
({about["extractor_steps"]:,} steps), which is told the mean spectrum of the clean rows only. False alarms: healthy test
files at a nominal rate of 0.1, by level; half of their backgrounds are of kinds that are rare in training.

{table}
How a mask is used matters more than how exact it is. Settled beforehand on other sound (healthy recordings of the same
fan, training backgrounds, injected faults; official score of the nearest neighbour, mean of -12 and -6 dB):

- raw .745; the enrolment's mask, weighted .78; leaning towards the usual level where nothing is believed .91.
- the network's mask is nearer to the truth (mean squared error .11 instead of .17) and finds fewer faults (.72, leaning
  and all): what it gets wrong follows the background. So the stage trusts a twentieth of what it adds, and adaptation
  of the network beyond the enrolment brings little.
- raw and residual sound at par with the separated path cost a quarter of the gain (.865); raw sound by the machine's
  share of it costs next to nothing, and keeps what a mask would erase where the hall is quiet.
- the fusion's detectors of quiet moments bring .033 on raw sound and cost .008 behind a mask (four members of
  `quick-fusion` without and with them, eight such worlds at 0 to -12 dB: .759 and .792, .788 and .780), so they listen
  to raw sound alone. That this was looked at is owed to this table, where the full chain of a `quick-fusion` with them
  on every path had .839, .792 and .736.
"""
