"""The table that a data set's own publication prints: per machine type, by the rule of that year.

- dcase2020: mean AUC and mean pAUC over the machine ids (Koizumi et al., arXiv 2006.05822).
- dcase2021: AUC and pAUC of each section and domain, normals and anomalies of that domain alone; harmonic means
  (Kawaguchi et al., arXiv 2106.04492).
- dcase2022 ... dcase2025: AUC of each section and domain, that domain's normals against all anomalies of the section,
  and pAUC of each section; harmonic means (Dohi et al. 2022, 2023; Nishida et al., arXiv 2406.07250, 2506.10097).
- mimii: mean AUC over the machine ids (Purohit et al., arXiv 1909.09347).

The total is over all machines at once, not over the types' means. pAUC reaches up to a false positive rate of 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor import roc
from monitor.console import say, table

TOTAL = "all"


@dataclass(frozen=True, slots=True)
class Judged:
    """One machine's test set, and every detector's scores of its files."""

    machine: str
    test: roc.TestSet
    scores: Mapping[str, roc.Array]


Figures = dict[str, list[float]]  # column -> the values that its mean is over


def dataset_table(name: str, machines: Sequence[Judged]) -> dict[str, Any]:
    """`{"name", "rule", "columns", "rows": {detector: {machine type or "all": {column: value}}}}`.

    Machines whose test files are of one class are left out; a column that a machine cannot fill is null.
    """
    ranked = [one for one in machines if one.test.two_classes]
    rule = _RULES[name]
    detectors = list(ranked[0].scores) if ranked else []
    types = list(dict.fromkeys(one.machine.rpartition("/")[0] for one in ranked))
    rows: dict[str, dict[str, dict[str, float | None]]] = {}
    for detector in detectors:
        each = {one.machine: rule.figures(one.scores[detector], one.test) for one in ranked}
        chosen = {kind: [each[m] for m in each if m.rpartition("/")[0] == kind] for kind in types}
        rows[detector] = {
            kind: _means(rule, several) for kind, several in {**chosen, TOTAL: list(each.values())}.items()
        }
    return {"name": name, "rule": rule.words, "columns": [*rule.columns, rule.total], "rows": rows}


def print_dataset_table(found: Mapping[str, Any], default: str) -> None:
    """One table per detector that matters to a reader: the default's by machine type, then everybody's totals."""
    columns = found["columns"]

    def cells(row: Mapping[str, float | None]) -> list[str]:
        return ["–" if row[one] is None else f"{100 * row[one]:.2f}" for one in columns]  # type: ignore[operator]

    if default in found["rows"]:
        rows = [(kind, *cells(row)) for kind, row in found["rows"][default].items()]
        table(f"{found['name']}, {default}, in percent", ("machine type", *columns), rows)
    totals = [(detector, *cells(row[TOTAL])) for detector, row in found["rows"].items()]
    table(f"{found['name']}, all machine types, in percent", ("detector", *columns), totals)
    say(f"{found['name']}: {found['rule']}")


def _auc_and_pauc(scores: roc.Array, test: roc.TestSet) -> Figures:
    ranking = roc.rank(scores, test, np.ones((1, len(scores))))
    return {"AUC": [float(ranking.auc[0])], "pAUC": [float(ranking.pauc[0])]}


def _within_domains(scores: roc.Array, test: roc.TestSet) -> Figures:
    found: Figures = {}
    for domain in ("source", "target"):
        own = test.domain == domain
        part = roc.TestSet(test.anomaly[own], test.domain[own], test.recording[own])
        both = _auc_and_pauc(scores[own], part) if part.two_classes else {"AUC": [np.nan], "pAUC": [np.nan]}
        found |= {f"{key} {domain}": values for key, values in both.items()}
    return found


def _against_all(scores: roc.Array, test: roc.TestSet) -> Figures:
    found: Figures = {}
    for domain in ("source", "target"):
        own = test.anomaly | (test.domain == domain)
        part = roc.TestSet(test.anomaly[own], test.domain[own], test.recording[own])
        found[f"AUC {domain}"] = _auc_and_pauc(scores[own], part)["AUC"] if part.two_classes else [np.nan]
    return found | {"pAUC": _auc_and_pauc(scores, test)["pAUC"]}


@dataclass(frozen=True, slots=True)
class _Rule:
    words: str
    columns: tuple[str, ...]
    total: str
    harmonic: bool

    def figures(self, scores: roc.Array, test: roc.TestSet) -> Figures:
        """The values of one machine in every column."""
        if "AUC source" not in self.columns:
            return {key: value for key, value in _auc_and_pauc(scores, test).items() if key in self.columns}
        return (_within_domains if "pAUC source" in self.columns else _against_all)(scores, test)

    def mean(self, values: Sequence[float]) -> float | None:
        """Their mean; null where one is missing."""
        if not values or not np.all(np.isfinite(values)):
            return None
        if not self.harmonic:
            return float(np.mean(values))
        return float(roc.harmonic([np.array([one]) for one in values])[0])


def _means(rule: _Rule, machines: Sequence[Figures]) -> dict[str, float | None]:
    columns = {one: [value for figures in machines for value in figures[one]] for one in rule.columns}
    everything = [value for values in columns.values() for value in values]
    return {**{one: rule.mean(values) for one, values in columns.items()}, rule.total: rule.mean(everything)}


_LATER = _Rule(
    "official score: harmonic mean over machine types and sections of AUC source, AUC target (each domain's normals "
    "against all anomalies of the section) and pAUC",
    ("AUC source", "AUC target", "pAUC"),
    "official",
    harmonic=True,
)
_RULES: Mapping[str, _Rule] = {
    "dcase2020": _Rule("arithmetic means over machine ids of AUC and pAUC", ("AUC", "pAUC"), "mean", harmonic=False),
    "dcase2021": _Rule(
        "official score: harmonic mean over machine types, sections and domains of AUC and pAUC within the domain",
        ("AUC source", "AUC target", "pAUC source", "pAUC target"),
        "official",
        harmonic=True,
    ),
    **dict.fromkeys(("dcase2022", "dcase2023", "dcase2024", "dcase2025"), _LATER),
    "mimii": _Rule("arithmetic mean over machine ids of AUC", ("AUC",), "mean", harmonic=False),
}
