"""A soak: a simulated day of 200 microphones, and ten real minutes at full rate; nothing grows, nothing is lost.

The line's own broker, worker and monitor, fed and audited from outside (tests/monitor/soakrun.py).

    python tests/benchmarks/bench_soak.py [--hours 24] [--mics 200] [--minutes 10] [--folder DIR]

writes docs/benchmarks/soak.md and soak.json. `--hours 0` or `--minutes 0` leaves a part as it stands in soak.json, so
that the parts may also be run at different times, or at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "monitor")]

from soakline import Soak, build  # noqa: E402  # helpers of the tests, found by the line above
from soakrun import Found, Soaking  # noqa: E402  # the same

PAGE = ROOT / "docs" / "benchmarks"
WARM_SHARE = 1 / 4  # of the event time: until then results and history fill up to their retention, and caches fill
BLOCKS = 20  # neighbouring samples are alike: the slope is fitted through the means of so many blocks
KEPT = 120  # samples in soak.json, about: every so many of them
T_95 = 2.101  # Student's t for BLOCKS - 2


def day(hours: float, mics: int) -> Soak:
    """`hours` of event time, one window per microphone every 100 s."""
    return Soak(mics=mics, windows=round(hours * 36), chunk=min(200, mics))


def full_rate(minutes: float, mics: int) -> Soak:
    """Real time: every microphone sends windows of 2 s without a break."""
    return Soak(
        mics=mics,
        windows=round(minutes * 30),
        period_s=2.0,
        simulated=False,
        retention_s=120.0,
        results_s=240.0,
        history_days=120 / 86_400,
        outage=False,
        kill=False,
        chunk=10,
    )


def soaked(soak: Soak, folder: Path, every_s: float, longest_s: float) -> dict[str, Any]:
    """Run it; everything that the page says of it."""
    line = build(folder, soak)
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    load = os.getloadavg()[1]
    found = Soaking(line, soak, every_s=every_s, longest_s=longest_s, say=lambda text: print(text, flush=True)).run()
    return {"began": began, "load_average": [load, os.getloadavg()[1]], "soak": asdict(soak), **summary(found)}


def summary(found: Found) -> dict[str, Any]:
    samples = found.samples
    return {
        "seconds": found.seconds,
        "waited_s": found.waited_s,
        "event_h": found.event_h,
        "visits": found.visits,
        "windows_per_s": found.counts["accepted"] / found.seconds,
        "counts": found.counts,
        "metrics": found.metrics,
        "differences": found.differences,
        "contradictions": found.contradictions,
        "repeated": found.repeated,
        "never_accepted": found.never_accepted,
        "restarts": found.restarts,
        "tables": found.tables,
        "processes": {name: process(samples, name) for name in ("monitor", "worker")},
        "disk_mb": {name: disk(samples, name) for name in samples[-1]["disk_mb"]},
        "delay_s": delays(found.delays_s),
        "samples": [_short(one, samples[0]["wall_s"]) for one in samples[:: 1 + len(samples) // KEPT]],
    }


def _short(sample: dict[str, Any], began_s: float) -> dict[str, Any]:
    """A sample as it is kept: wall time from the begin, two decimals."""
    parts = {
        name: {what: round(value, 2) for what, value in one.items()}
        for name, one in sample.items()
        if isinstance(one, dict)
    }
    return {**sample, **parts, "wall_s": round(sample["wall_s"] - began_s, 1), "event_h": round(sample["event_h"], 3)}


def process(samples: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Memory, descriptors and threads of the last incarnation of a process, once it was warm."""
    alive = [one for one in samples if name in one]
    same = [one for one in alive if one[name]["pid"] == alive[-1][name]["pid"]]
    begins = max(same[0]["event_h"], WARM_SHARE * same[-1]["event_h"])
    warm = [one for one in same if one["event_h"] >= begins]
    hours = np.array([one["event_h"] for one in warm])
    anon = np.array([one[name]["anon_mb"] for one in warm])
    windows = np.array([one["accepted"] for one in warm])
    per_hour, error = slope(hours, anon)
    part = max(1, len(warm) // 3)  # of the three quarters that are left
    counts = {
        what: {
            "second_quarter": [min(values[:part]), max(values[:part])],
            "last_quarter": [min(values[-part:]), max(values[-part:])],
        }
        for what in ("fds", "threads")
        for values in [[int(one[name][what]) for one in warm]]
    }
    return {
        "from_event_h": float(hours[0]),
        "samples": len(warm),
        "anon_mb": {
            "second_quarter": float(np.median(anon[:part])),
            "last_quarter": float(np.median(anon[-part:])),
            "peak": max(one[name]["anon_mb"] for one in alive),
        },
        "file_mb": warm[-1][name]["file_mb"],
        "slope_mb_per_event_h": per_hour,
        "slope_95": error,
        "slope_mb_per_100000_windows": per_hour * float(hours[-1] - hours[0]) / (windows[-1] - windows[0]) * 1e5,
        **counts,
    }


def slope(at: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least squares through block means, with half of its 95 % interval; NaN where there are too few samples."""
    if len(at) < 2 * BLOCKS:
        return float("nan"), float("nan")
    x = np.array([part.mean() for part in np.array_split(at, BLOCKS)])
    y = np.array([part.mean() for part in np.array_split(values, BLOCKS)])
    (steep, level), centred = np.polyfit(x, y, 1), x - x.mean()
    rest = y - (steep * x + level)
    return float(steep), float(T_95 * np.sqrt((rest @ rest) / (BLOCKS - 2) / (centred @ centred)))


def disk(samples: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Largest size in the second and in the last quarter of the soak, and of all."""
    sizes = [one["disk_mb"][name] for one in samples]
    part = max(1, len(sizes) // 4)
    return {"second_quarter": max(sizes[part : 2 * part]), "last_quarter": max(sizes[-part:]), "peak": max(sizes)}


def delays(found: list[float]) -> dict[str, float]:
    """From the end of a window's sound to its score; nothing where time is simulated."""
    if not found:
        return {}
    all_s = np.array(found)
    return {
        "median": float(np.median(all_s)),
        "p99": float(np.quantile(all_s, 0.99)),
        "p99_9": float(np.quantile(all_s, 0.999)),
        "max": float(all_s.max()),
        "within_10_s": float((all_s <= 10.0).mean()),
    }


def page(found: dict[str, Any]) -> str:
    head = INTRODUCTION.format(machine=found["machine"])
    day_part = section("A simulated day", found.get("day"), DAY)
    return "\n\n".join([head, day_part, section("Full rate, real time", found.get("full"), FULL)]) + "\n"


INTRODUCTION = """# Soak: a day of 200 microphones, and full rate

Written by `python tests/benchmarks/bench_soak.py`; do not edit.

{machine}. The line's own broker (embedded), one worker and the monitor, started by the supervisor of `factory-ear run`
with its own commands, on two cores; the load averages say what else ran there (2 is both cores busy).
All machines share copies of one tiny model (nearest neighbour, eight recordings); memory and speed with the default
detectors stand in [run.md](run.md). Capture is replaced by a feeder, which keeps a ledger of what the broker accepted
and reads from the topics what became of it. Meanwhile somebody reads all pages, opens `/events`,
acknowledges and shelves."""
DAY = """Event time: all processes read a clock that the feeder moves on as fast as the line keeps up, so retention,
history and shelves see whole days. One window per microphone every {period_s:g} s; the detector takes five of them for
10 s in a row. In turn each machine is faulty for a while, one microphone is silent, one window in a thousand is torn.
Windows are kept {retention_h:g} h, results {results_h:g} h, history {history_h:g} h. One microphone of a machine (in
five) keeps evidence."""
FULL = """Real time: {mics} microphones send windows of 2 s without a break. Windows are kept {retention_s:g} s, results
{results_s:g} s."""


def section(title: str, part: dict[str, Any] | None, text: str) -> str:
    if part is None:
        return f"## {title}\n\n**Not run.**"
    soak = part["soak"]
    said = text.format(
        **soak,
        retention_h=soak["retention_s"] / 3600,
        results_h=soak["results_s"] / 3600,
        history_h=soak["history_days"] * 24,
    )
    waited = f" (of this the feeder waited {part['waited_s'] / part['seconds']:.0%} for the line)"
    planned_h, event_h = 24.0 if soak["simulated"] else 1 / 6, part["event_h"]
    cut = "" if event_h > 0.999 * planned_h else f" **not the {planned_h:.2g} h that a whole soak takes,**"
    before, after = part["load_average"]
    how = f"""{said}

{soak["mics"]} microphones, {event_h:.3g} h of event time,{cut} {part["counts"]["accepted"]:,} windows in
{part["seconds"] / 60:.1f} minutes{waited if soak["simulated"] else ""}, {part["windows_per_s"]:.0f} windows/s,
begun {part["began"]}, load average {before:.1f} before and {after:.1f} after; {part["visits"]} visits to all pages."""
    return "\n\n".join([f"## {title}", how, accounts(part), tables(part)])


def accounts(part: dict[str, Any]) -> str:
    counts, metrics = part["counts"], part["metrics"]
    rows = "\n".join(f"| {end} | {counts[end]:,} | {metrics[end]:,} |" for end in metrics)
    total = sum(counts[end] for end in metrics)
    equal = "equal for every microphone" if not part["differences"] else f"{len(part['differences'])} DIFFERENCES"
    happened = (
        "; ".join(f"{one['what']} at {one['event_h']:.1f} h" for one in part["restarts"]) or "nothing was stopped"
    )
    text = f"""| a window ended | ledger | /metrics |
|---|---:|---:|
{rows}
| **together** (accepted: {counts["accepted"]:,}) | **{total:,}** | **{sum(metrics.values()):,}** |

Ledger and `/metrics` are {equal}. Windows that ended in two ways: {part["contradictions"]}; results of windows that
nobody sent: {part["never_accepted"]}; results that came twice: {part["repeated"]} (at least once is the promise).
On the way: {happened}."""
    delay = part["delay_s"]
    if delay:
        text += f"""

From the end of a window's sound to its score: median {delay["median"]:.2f} s, 99 % within {delay["p99"]:.2f} s, 99.9 %
within {delay["p99_9"]:.2f} s, worst {delay["max"]:.2f} s; {100 * delay["within_10_s"]:.3f} % within 10 s (promised:
99.9 %)."""
    return text


def tables(part: dict[str, Any]) -> str:
    rows = []
    for name, one in part["processes"].items():
        anon, fds, threads = one["anon_mb"], one["fds"], one["threads"]
        rows.append(
            f"| {name} | {anon['second_quarter']:.1f} | {anon['last_quarter']:.1f} | {anon['peak']:.1f} |"
            f" {one['file_mb']:.1f} | {one['slope_mb_per_event_h']:+.3f} ± {one['slope_95']:.3f} |"
            f" {one['slope_mb_per_100000_windows']:+.1f} | {_span(fds)} | {_span(threads)} |"
        )
    disks = "\n".join(
        f"| {name} | {one['second_quarter']:.1f} | {one['last_quarter']:.1f} | {one['peak']:.1f} |"
        for name, one in part["disk_mb"].items()
    )
    kept = ", ".join(f"{count:,} {name}" for name, count in part["tables"].items())
    return f"""| process | own memory, MB, second quarter | last quarter | ever | files in memory | slope, MB per \
event hour (95 %) | per 100,000 windows | descriptors, second and last quarter | threads |
|---|---:|---:|---:|---:|---:|---:|---|---|
{chr(10).join(rows)}

Own memory is what is anonymous (RssAnon), medians; files in memory are code and logs, which the system may drop. The
first quarter is left out: until then results and history fill up to their retention. The slope is least squares through
{BLOCKS} block means.

| on disk, largest, MB | second quarter | last quarter | ever |
|---|---:|---:|---:|
{disks}

`results` is broker.sqlite with its log; `alarms` grows with alarms and with what people do, never with windows. Rows at
the end: {kept}."""


def _span(counts: dict[str, list[int]]) -> str:
    return " → ".join(
        f"{low}" if low == high else f"{low} to {high}"
        for low, high in (counts["second_quarter"], counts["last_quarter"])
    )


def parts(stored: Path) -> dict[str, Any]:
    """What earlier runs found; a part of which anonymous memory was not asked is left out."""
    found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    return {name: one for name, one in found.items() if name == "machine" or "anon_mb" in one["processes"]["monitor"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, default=24.0)
    options.add_argument("--mics", type=int, default=200)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--longest", type=float, default=600.0, help="minutes after which the day ends unfinished")
    options.add_argument("--folder", type=Path, help="where the line is built; it needs some 5 GB")
    options.add_argument("--out", type=Path, default=PAGE)
    chosen = options.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )  # of the children
    stored = chosen.out / "soak.json"
    wanted = (
        ("day", chosen.hours, day(chosen.hours, chosen.mics), 4.0),
        ("full", chosen.minutes, full_rate(chosen.minutes, chosen.mics), 5.0),
    )
    for name, much, soak, every_s in wanted:
        if much:
            with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
                part = soaked(soak, Path(folder), every_s, 60 * chosen.longest)
            found = parts(stored)  # read now: another run may have written the other part meanwhile
            found["machine"] = f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}"
            found[name] = part
            stored.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            (chosen.out / "soak.md").write_text(page(found), encoding="utf-8")
            print(page(found))


if __name__ == "__main__":
    main()
