"""The page of an evaluation: one self-contained HTML file, in Japanese or English, with its ROC picture inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Detectors, measured",
        "lead": "Each detector learned from healthy recordings only and scored recordings that it had never heard. "
        "Half of all coin tosses is 0.5; perfect is 1. Brackets: 95% bootstrap intervals over recordings.",
        "best": "Without a tuned threshold, the default {name} ranks a faulty recording above a healthy one in "
        "{auc} of 100 cases; loudness alone does in {loud}.",
        "name": "Detector",
        "kind": "Kind",
        "detector": "detector",
        "control": "control",
        "official": "Official score",
        "delta": "Less the default",
        "auc": "AUC",
        "pauc": "pAUC",
        "fpr": "False alarms at nominal {alpha}",
        "tpr": "Found at nominal {alpha}",
        "context": "Context (s)",
        "aggregation": "File score",
        "train": "Training (s)",
        "speed": "Windows/s",
        "unsupported": "not supported",
        "none": "–",
        "default": "default",
        "notes": "Read this first",
        "n": "Effective n",
        "n_text": "{machine}: {n} healthy training recordings; they cannot calibrate thresholds below {floor}.",
        "tests": "{machine}: tested on {normal} healthy and {anomaly} faulty files ({rn} and {ra} recordings).",
        "overall": "All machines",
        "roc": "ROC: found against false alarms",
        "protocol": "Protocol",
        "controls": "A control is what anybody would try first: loudness, or the plain distance to the mean spectrum. "
        "A detector that does not beat it has learned nothing.",
        "nothing": "Nothing could be ranked; the notes say why.",
    },
    "ja": {
        "title": "異音検知の評価結果",
        "lead": "各検知器は正常音だけで学習し、学習に使っていない録音を採点しました。"
        "0.5 は偶然と同じ、1 は完全な検知です。"
        "角括弧は録音単位のブートストラップによる 95% 区間です。",
        "best": "しきい値を決める前の実力: 既定の検知器 {name} は、100 組中 {auc} 組で異常音を正常音より上位に並べます"
        "(音量だけでは {loud} 組)。",
        "name": "検知器",
        "kind": "種別",
        "detector": "検知器",
        "control": "対照",
        "official": "公式スコア",
        "delta": "既定との差",
        "auc": "AUC",
        "pauc": "pAUC",
        "fpr": "誤報率 (設定 {alpha})",
        "tpr": "検出率 (設定 {alpha})",
        "context": "聞く長さ (秒)",
        "aggregation": "ファイルの採点",
        "train": "学習 (秒)",
        "speed": "窓/秒",
        "unsupported": "判定不可",
        "none": "–",
        "default": "既定",
        "notes": "はじめにお読みください",
        "n": "実効録音数",
        "n_text": "{machine}: 正常な学習録音は {n} 件です。{floor} 未満の誤報率は、この件数では校正できません。",
        "tests": "{machine}: 正常 {normal} 件、異常 {anomaly} 件のファイル (録音 {rn} 件と {ra} 件) で評価しました。",
        "overall": "全設備",
        "roc": "ROC: 検出率と誤報率",
        "protocol": "評価条件",
        "controls": "対照とは、誰でも最初に試す方法 (音量、平均スペクトルとの距離) です。"
        "対照に勝てない検知器は何も学習していません。",
        "nothing": "順位を付けられる結果がありません。理由は注記にあります。",
    },
}


def write_report(report: Mapping[str, Any], curves: Mapping[str, Curve], target: Path, *, lang: str = "en") -> None:
    """Write the page to `target`. Raises ValueError for a language other than ja and en."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if lang not in WORDS:
        raise ValueError(f"lang is {lang!r}, allowed is {', '.join(WORDS)}")
    environment = Environment(
        loader=PackageLoader("monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = WORDS[lang]
    tables = [("", _table(report["results"], report["protocol"]["default"], words))]
    if len(report["machines"]) > 1:
        tables[0] = (words["overall"], tables[0][1])
        tables += [
            (name, _table(one["results"], report["protocol"]["default"], words))
            for name, one in report["machines"].items()
        ]
    text = environment.get_template("report.html").render(
        lang=lang,
        w=words,
        headline=_headline(report, words),
        facts=_facts(report, words),
        columns=_columns(words),
        tables=tables,
        notes=report["protocol"]["notes"],
        protocol={key: value for key, value in report["protocol"].items() if key not in ("notes", "machines")},
        roc=_picture(curves),
    )
    target.write_text(text, encoding="utf-8")


def _headline(report: Mapping[str, Any], words: Mapping[str, str]) -> str:
    name = report["protocol"]["default"]
    auc, loud = report["results"][name]["auc"], report["results"]["loudness"]["auc"]
    if auc is None or loud is None:
        return words["nothing"]
    return words["best"].format(name=name, auc=f"{100 * auc:.0f}", loud=f"{100 * loud:.0f}")


def _facts(report: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    lines = []
    for machine, one in report["protocol"]["machines"].items():
        n = one["effective_n"]
        if n is None:
            continue
        lines.append(words["n_text"].format(machine=machine, n=n, floor=f"{1 / (n + 1):.3f}"))
        lines.append(
            words["tests"].format(
                machine=machine,
                normal=one["test_normal"],
                anomaly=one["test_anomaly"],
                rn=one["test_recordings_normal"],
                ra=one["test_recordings_anomaly"],
            )
        )
    return lines


def _columns(words: Mapping[str, str]) -> list[str]:
    alphas = ("0.01", "0.05", "0.1")
    rates = [words[key].format(alpha=alpha) for key in ("fpr", "tpr") for alpha in alphas]
    last = [words[key] for key in ("context", "aggregation", "train", "speed")]
    return [*(words[key] for key in ("name", "kind", "official", "delta", "auc", "pauc")), *rates, *last]


def _table(results: Mapping[str, Any], default: str, words: Mapping[str, str]) -> list[tuple[bool, list[str]]]:
    """Rows of cells, each with whether it is the default's."""

    def number(value: float | None, digits: int = 3) -> str:
        return words["none"] if value is None else f"{value:.{digits}f}"

    def between(pair: Sequence[float] | None) -> str:
        return "" if pair is None else f" [{pair[0]:.3f}, {pair[1]:.3f}]"

    def rate(value: float | None) -> str:
        return words["unsupported"] if value is None else f"{value:.1%}"

    rows = []
    for name, one in results.items():
        cells = [f"{name} ({words['default']})" if name == default else name, words[one["kind"]]]
        cells += [
            number(one["official"]) + between(one["official_ci"]),
            between(one["delta_ci"]).strip() or words["none"],
        ]
        cells += [number(one["auc"]) + between(one["auc_ci"]), number(one["pauc"])]
        cells += [rate(value) for key in ("fpr_at", "tpr_at") for value in one[key].values()]
        cells += [number(one["context_s"], 0), one["aggregation"] or words["none"], number(one["train_s"], 1)]
        rows.append((name == default, [*cells, number(one["windows_per_s"], 0)]))
    return rows


def _picture(curves: Mapping[str, Curve]) -> str:
    """The ROC as a PNG in a data: address; empty where there is nothing to draw."""
    if not curves:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.subplots()
    for name, (fpr, tpr) in curves.items():
        axes.plot(fpr, tpr, label=name, linewidth=1.5)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower right", fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    return "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()
