"""The demo's table, on the terminal and as one HTML file without anything from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from monitor.console import say, table
from monitor.demo.verdict import Row, Verdict

WORDS = {
    "en": {
        "title": "What the simulated line found",
        "columns": ("machine", "what happened", "level", "from", "to", "found", "after", "false alarms", "raw alone"),
        "yes": "found",
        "no": "MISSED",
        "raw_no": "missed",
        "only": "found by separation, missed by the raw detector alone",
        "healthy": "stayed healthy",
        "counts": "Windows",
        "seconds": "Seconds",
        "failed": "What failed",
        "simulated": "The machines are simulated: this shows that the parts work together, not how well your machines "
        "would be heard.",
    },
    "ja": {
        "title": "模擬ラインの結果",
        "columns": ("機械", "出来事", "レベル", "開始", "終了", "検出", "所要", "誤報", "分離なし"),
        "yes": "検出",
        "no": "見逃し",
        "raw_no": "見逃し",
        "only": "音源分離で検出、分離なしの検出器では見逃し",
        "healthy": "正常のまま",
        "counts": "窓の数",
        "seconds": "所要秒数",
        "failed": "不合格の理由",
        "simulated": "機械は模擬音です。各部が連携して働くことを示すもので、実機での検出性能を示すものではありません。",
    },
}
KINDS_JA = {
    "outer_race": "軸受外輪傷",
    "inner_race": "軸受内輪傷",
    "ball": "軸受転動体傷",
    "broken_tooth": "歯車欠け",
    "looseness": "緩み",
    "rattle": "がたつき",
    "cavitation": "キャビテーション",
    "leak": "漏れ",
    "belt_squeal": "ベルト鳴き",
    "blade_imbalance": "羽根の不釣合い",
    "no signal": "信号なし",
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.4rem .6rem;border-bottom:1px solid #ccc;text-align:left}"
    ".missed{font-weight:700;color:#a40000}.note{color:#555}"
)


def cells(row: Row, lang: str) -> tuple[str, ...]:
    """One row in words."""
    words = WORDS[lang]
    if not row.kind:
        return (row.machine, str(words["healthy"]), "", "", "", "", "", str(row.false_alarms), "")
    kind = KINDS_JA.get(row.kind, row.kind) if lang == "ja" else row.kind.replace("_", " ")
    level = "" if row.kind == "no signal" else f"{row.level_db:+.0f} dB"
    delay = "" if row.delay_s is None else f"{row.delay_s:.0f} s"
    found = str(words["yes"] if row.found else words["no"])
    raw = "" if row.raw is None else str(words["yes" if row.raw else "raw_no"])
    times = (_clock(row.start_s), _clock(row.end_s))
    return (row.machine, kind, level, *times, found, delay, str(row.false_alarms), raw)


def grid(verdict: Verdict, lang: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of the table; the last column, what the raw detector alone found, only where that was asked."""
    width = None if any(row.raw is not None for row in verdict.rows) else -1
    return tuple(WORDS[lang]["columns"])[:width], [cells(row, lang)[:width] for row in verdict.rows]


def uncovered(verdict: Verdict, lang: str) -> list[str]:
    """In words, which faults were found that the raw detector alone missed."""
    return [
        f"{row.machine}: {cells(row, lang)[1]}: {WORDS[lang]['only']}"
        for row in verdict.rows
        if row.found and row.raw is False
    ]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def print_verdict(verdict: Verdict, counts: Mapping[str, int], lang: str) -> None:
    """The table, the counts, and what failed."""
    words = WORDS[lang]
    table(str(words["title"]), *grid(verdict, lang))
    say(f"{words['counts']}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for text in uncovered(verdict, lang):
        say(f"found   {text}")
    for note in verdict.notes:
        say(f"noted   {note}")
    for failure in verdict.failures:
        say(f"FAILED  {failure}")


def write_report(
    path: Path,
    verdict: Verdict,
    counts: Mapping[str, int],
    seconds: Mapping[str, float],
    pictures: Sequence[Path],
    lang: str,
) -> None:
    """Write the report; pictures are referred to by their names beside it."""
    words = WORDS[lang]
    heads, rows = grid(verdict, lang)
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in heads)
    body = "".join(_html_row(row, told) for row, told in zip(verdict.rows, rows, strict=True))
    lists = "".join(f"<li>{escape(name)}: {count}</li>" for name, count in counts.items())
    times = "".join(f"<li>{escape(name)}: {value:.1f}</li>" for name, value in seconds.items())
    failures = "".join(f"<li class=missed>{escape(text)}</li>" for text in verdict.failures)
    failed = f"<h2>{words['failed']}</h2><ul>{failures}</ul>" if failures else ""
    said = (*uncovered(verdict, lang), *verdict.notes)
    notes = "".join(f"<li class=note>{escape(text)}</li>" for text in said)
    failed = (f"<ul>{notes}</ul>" if notes else "") + failed
    images = "".join(f'<p><img src="{p.name}" alt="{p.stem}" style="max-width:100%"></p>' for p in pictures)
    path.write_text(
        f"<!doctype html><html lang={lang}><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{words['title']}</title><style>{STYLE}</style><h1>{words['title']}</h1>"
        f"<p class=note>{words['simulated']}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{failed}<h2>{words['counts']}</h2><ul>{lists}</ul><h2>{words['seconds']}</h2><ul>{times}</ul>{images}</html>",
        encoding="utf-8",
    )


def _html_row(row: Row, told: Sequence[str]) -> str:
    missed = ' class="missed"' if row.kind and not row.found else ""
    inner = "".join(f"<td>{escape(cell)}</td>" for cell in told)
    note = f"<td colspan={len(told) - 1} class=note>{escape(row.reason)}</td>"
    return f"<tr{missed}>{inner}</tr>" + (f"<tr><td></td>{note}</tr>" if row.reason else "")
