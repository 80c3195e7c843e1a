"""Separators adapted to the site: rows of the SI-SDR table of bench_separation.py.

The site's sound is the training rows labelled clean and background, and the query the very one that is asked with
later. Extractor first, then Ex-Diff over it; its controls are adapted on the same mixtures for as many steps.
"""

from __future__ import annotations

import time
from pathlib import Path

from torch import Tensor

from monitor.evaluate_separation import QUERY_CLIPS, evenly, read_sound
from monitor.manifest import Manifest, read_manifest
from sds_engine.separation.adapt import Budget, SiteSound, adapt
from sds_engine.separation.base import Query, Separator
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.exdiff.adapt import adapt_exdiff
from sds_engine.separation.exdiff.separator import ExDiff, file_name, load_exdiff
from sds_engine.separation.extractor import WEIGHTS, Extractor, load_extractor
from sds_engine.separation.training import LEARNING_TRUST

EXTRACTOR, EX_DIFF = "extractor adapted", "ex-diff adapted"
VARIANTS = {"latents": EX_DIFF, "none": "exdiff-no-latents adapted", "mixture-only": "mixture-diffusion adapted"}
EVALUATIONS = (2, 4)
SHUFFLED = "exdiff-shuffled adapted"
CONTROLS = (*(f"exdiff-{nfe} adapted" for nfe in EVALUATIONS), SHUFFLED, VARIANTS["none"], VARIANTS["mixture-only"])


def adapted(manifest_path: Path, controls: Path | None, steps: int, seed: int) -> dict[str, Separator]:
    """Every method of this part by name, adapted for `steps` steps each; controls from their folder, if any."""
    sound, query = site_of(read_manifest(manifest_path))
    began = time.process_time()
    net, _ = adapt(load_extractor()[0].net, sound, site_statistics(query.enrolment), budget=budget(steps), seed=seed)
    ready: dict[str, Separator] = {EXTRACTOR: Extractor(net, trust=LEARNING_TRUST, name=EXTRACTOR)}
    for variant, name in VARIANTS.items():
        folder = WEIGHTS if variant == "latents" else controls
        if folder is None or not (folder / f"{file_name(variant)}.json").exists():
            continue
        start = load_exdiff(folder, variant, extractor=WEIGHTS)[0]
        guide = None if variant == "mixture-only" else net
        model, _ = adapt_exdiff(start, guide, sound, query, budget=budget(steps), seed=seed)
        ready[name] = ExDiff(model, nfe=1, trust=1.0, name=name)
        if variant == "latents":
            ready |= {f"exdiff-{nfe} adapted": ExDiff(model, nfe=nfe, trust=1.0) for nfe in EVALUATIONS}
            ready[SHUFFLED] = ExDiff(model, nfe=1, trust=1.0, shuffled=True)
    print(f"adapted for {steps} steps each: {time.process_time() - began:.0f} s of processor time", flush=True)
    return ready


def budget(steps: int) -> Budget:
    """Steps alone, so that a busy machine changes no figure."""
    return Budget(steps, float("inf"))


def site_of(manifest: Manifest) -> tuple[SiteSound, Query]:
    """What the site's first machine gives to learn from, and what is asked with."""
    rows = [row for row in manifest.rows if row.split == "train" and row.machine == manifest.machines()[0]]

    def sounds(label: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        those = [row for row in rows if row.label == label]
        return tuple(read_sound(row.file) for row in those), tuple(
            read_sound(row.file) for row in evenly(those, QUERY_CLIPS)
        )

    (clean, asked), (background, hall) = sounds("clean"), sounds("background")
    return SiteSound(clean, background), Query(asked, hall)
