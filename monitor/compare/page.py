"""The comparison as a person reads it: one self-contained HTML file, in Japanese or English."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.roi.silence import reason

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "{a} against {b}",
        "lead": "Both sides learned from the same healthy recordings, laid their thresholds on these alone, and heard "
        "the same test files. An event counts once, however many files it has.",
        "lead_alarms": "Both sides learned from the same healthy recordings and heard the same test files, through the "
        "alarm logic of continuous monitoring, each with its own alarm settings. An event counts once, and only if an "
        "alarm opened on it before the machine failed.",
        "verdict_a": "{a} is better.",
        "verdict_b": "{b} is better.",
        "verdict_open": "Undecided: these recordings do not tell {a} from {b}.",
        "rule": "Better means: more events found (McNemar, p below 0.05) or a higher official score (95% interval of "
        "the difference clear of 0), and worse in neither, nor in false alarms.",
        "differs": "What differs",
        "setting": "Setting",
        "hits": "Events found",
        "alarms": "Healthy recordings that alarmed",
        "by": "By",
        "both": "both",
        "only": "only {name}",
        "neither": "neither",
        "p": "McNemar's exact p",
        "score": "Official score",
        "difference": "Difference ({b} less {a})",
        "between": "{delta} (95%: {low} to {high})",
        "machines": "Machine by machine",
        "machine": "Machine",
        "notes": "Read this too",
        "none": "not known: it needs healthy and faulty test recordings",
        "no_interval": "{delta} (no interval: it needs two recordings of each kind)",
        "default": "default",
        "note": "note",
    },
    "ja": {
        "title": "{a} と {b} の比較",
        "lead": "両者は同じ正常録音で学習し、しきい値もその録音だけで決め、同じ評価用録音を判定しました。"
        "1 件の故障に複数の録音があっても 1 件と数えます。",
        "lead_alarms": "両者は同じ正常録音で学習し、同じ評価用録音を、連続監視と同じ警報の仕組みと"
        "それぞれの警報設定で判定しました。1 件の故障は 1 件と数え、故障の前に警報が出た場合だけを発見とします。",
        "verdict_a": "{a} のほうが優れています。",
        "verdict_b": "{b} のほうが優れています。",
        "verdict_open": "判断できません。この録音では {a} と {b} の差を確認できません。",
        "rule": "優れているとは、発見した故障が多い (McNemar 検定 p < 0.05) か、公式スコアが高い "
        "(差の 95% 区間が 0 を含まない) うえに、どちらでも劣らず、誤報も増えないことです。",
        "differs": "設定の違い",
        "setting": "設定",
        "hits": "発見した故障",
        "alarms": "警報が出た正常録音",
        "by": "判定",
        "both": "両方",
        "only": "{name} のみ",
        "neither": "どちらも出さず",
        "p": "McNemar 正確検定 p 値",
        "score": "公式スコア",
        "difference": "差 ({b} − {a})",
        "between": "{delta} (95% 区間: {low} ～ {high})",
        "machines": "設備別の結果",
        "machine": "設備",
        "notes": "あわせてお読みください",
        "none": "不明 (正常と異常の評価用録音が必要です)",
        "no_interval": "{delta} (区間なし: 正常と異常それぞれ 2 件以上の録音が必要です)",
        "default": "既定",
        "note": "注意",
    },
}


def write_page(report: Mapping[str, Any], target: Path, *, lang: str = "en") -> None:
    """Write the page to `target`. Raises ValueError for a language other than ja and en."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    w = _words(lang)
    a, b = report["names"]
    environment = Environment(
        loader=PackageLoader("monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("versus.html").render(
        lang=lang,
        w=w,
        lead=w["lead" if report["judged_by"] == "threshold" else "lead_alarms"],
        title=w["title"].format(a=a, b=b),
        verdict=w[f"verdict_{report['verdict']}"].format(a=a, b=b),
        answer=report["verdict"],
        names=(a, b),
        settings=_settings(report, w),
        columns=(w["both"], w["only"].format(name=a), w["only"].format(name=b), w["neither"], w["p"]),
        pairs=[(w["hits"], _cells(report["hits"])), (w["alarms"], _cells(report["false_alarms"]))],
        scores=_scores(report, w),
        machines=_machines(report),
        notes=[note_in(lang, text) for text in report["notes"]],
    )
    target.write_text(text, encoding="utf-8")


_NOTES = (
    (
        r"(.+), (.+): threshold at (\S+) of healthy files; the training recordings cannot count (\S+)",
        r"\1、\2: しきい値は正常録音の \3 です。学習用の録音が少なく \4 までは校正できません",
    ),
    (
        r"(alarms\..+): without the column start these decide nothing",
        r"\1: start 列がないため、これらの設定は効きません",
    ),
)


def note_in(lang: str, text: str) -> str:
    """A note of the report (English, as JSON has it) in `lang`."""
    if lang != "ja":
        return text
    machine, told, why = text.partition(": not judged: ")
    if told:
        return f"{machine}: 判定していません。{reason(why, lang)}"
    for pattern, words in _NOTES:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, words, text)
    return text


def _words(lang: str) -> Mapping[str, str]:
    if lang not in TEXTS:
        raise ValueError(f"lang is {lang!r}, allowed is {', '.join(TEXTS)}")
    return TEXTS[lang]


def _settings(report: Mapping[str, Any], w: Mapping[str, str]) -> list[tuple[str, ...]]:
    def shown(value: object) -> str:
        return w["default"] if value is None else str(value)

    return [(key, *(shown(side[key]) for side in report["settings"])) for key in report["differs"]]


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (str(found[key]) for key in ("both", "a_only", "b_only", "neither"))
    p = found["p"]
    return (*counts, f"{p:.3f}" if p >= 0.001 else f"{p:.1g}")


def _scores(report: Mapping[str, Any], w: Mapping[str, str]) -> list[tuple[str, str]]:
    score, (a, b) = report["official"], report["names"]
    if score["delta"] is None:
        return [(w["score"], w["none"])]
    delta = f"{score['delta']:+.3f}"
    pair = score["delta_ci"]
    between = w["no_interval"].format(delta=delta)
    if pair is not None:
        between = w["between"].format(delta=delta, low=f"{pair[0]:+.3f}", high=f"{pair[1]:+.3f}")
    rows = [(f"{w['score']}, {name}", f"{score[key]:.3f}") for name, key in ((a, "a"), (b, "b"))]
    return [*rows, (w["difference"].format(a=a, b=b), between)]


def _machines(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, one in report["machines"].items():
        cells = []
        for key in ("hits", "false_alarms"):
            found = one[key]
            of = sum(found[part] for part in ("both", "a_only", "b_only", "neither"))
            cells += [f"{found['both'] + found[side]} / {of}" for side in ("a_only", "b_only")]
        rows.append((name, *cells))
    return rows


def summary_lines(report: Mapping[str, Any], lang: str) -> Sequence[str]:
    """What the command prints."""
    w, (a, b) = _words(lang), report["names"]
    lines = [w[f"verdict_{report['verdict']}"].format(a=a, b=b)]
    for key, title in (("hits", "hits"), ("false_alarms", "alarms")):
        both, a_only, b_only, neither, p = _cells(report[key])
        parts = (f"{w['both']} {both}", f"{w['only'].format(name=a)} {a_only}", f"{w['only'].format(name=b)} {b_only}")
        lines.append(f"{w[title]}: {', '.join(parts)}, {w['neither']} {neither}; {w['p']} {p}")
    lines += [f"{title}: {value}" for title, value in _scores(report, w)]
    return [*lines, *(f"{w['note']}: {note_in(lang, note)}" for note in report["notes"])]
