"""Every text exists in both languages, and none is there that nobody says."""

from __future__ import annotations

import re
import string
from typing import get_args

import pytest

from monitor.actions import REFUSALS, Outcome, Verdict
from monitor.board import BLOCKING, STATES
from monitor.liveness import Signal
from monitor.web.access import ROLES
from monitor.web.archive import VERSIONS
from monitor.web.listening import COMPARED, RAW
from monitor.web.pages import NAV, TEMPLATES
from monitor.web.reading import SPANS_H
from monitor.web.texts import PAGE_TEXTS
from monitor.words import TEXTS, Facts, ago, clock, reason
from streams.records import FLAGS

WORDS = {**TEXTS, **PAGE_TEXTS}
T0 = 1_800_000_000 * 1_000_000_000  # 2027-01-15 08:00 UTC, 17:00 in Tokyo


def said() -> set[str]:
    page = "".join(path.read_text() for path in TEMPLATES.glob("*.html") if path.name != "report.html")
    code = "".join(path.read_text() for path in (TEMPLATES.parent / "web").glob("*.py") if path.name != "texts.py")
    fixed = {f"state_{one}" for one in STATES} | {f"signal_{one}" for one in get_args(Signal)}
    fixed |= {f"flag_{one}" for one in FLAGS} | set(BLOCKING) | set(REFUSALS)
    fixed |= {f"nav_{name}" for name, _ in NAV} | {f"role_{one}" for one in ROLES} | {f"span_{one}" for one in SPANS_H}
    fixed |= {f"v_{one}" for one in VERSIONS} | {f"ver_{one}" for one in (RAW, *COMPARED)}
    fixed |= {f"outcome_{one}" for one in get_args(Outcome)} | {f"judged_{one}" for one in get_args(Verdict)}
    quoted = set(re.findall(r'"([a-z]\w*)"', page)) | set(re.findall(r'"([a-z]\w*)"', code))
    return quoted & set(WORDS) | fixed


def test_what_is_said_is_what_there_is() -> None:
    """The texts are those that the pages use: none missing, none left over."""
    assert said() == set(WORDS)


@pytest.mark.parametrize("key", sorted(WORDS))
def test_both_languages_say_the_same(key: str) -> None:
    """A text is there in both languages and takes the same values in both."""
    ja, en = WORDS[key]
    assert ja
    assert en
    fields = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in (ja, en)]
    assert fields[0] == fields[1]


def facts(**more: object) -> Facts:
    values = {"kind": "odd", "since_ns": T0, "mics": ("a",), "mic": "a", "odd": 5, "looks": 6}
    return Facts(**{**values, **more})  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("lang", "more", "expected"),
    [
        ("en", {}, "press: odd since 17:00, strongest on mic a, 5 of the last 6 looks"),
        (
            "en",
            {"band_hz": (120.0, 480.0), "band_db": -3.2, "danger": True},
            "press: odd since 17:00, strongest around 120-480 Hz (-3 dB) on mic a, 5 of the last 6 looks; it persists: danger",  # noqa: E501 - one sentence
        ),
        (
            "ja",
            {"band_hz": (2100.0, 2600.0), "band_db": 9.0},
            "press：17:00 から異音、マイク a の 2.1〜2.6 kHz (+9 dB) 付近で最大、直近 6 回の判定のうち 5 回が異常",
        ),
        (
            "ja",
            {"closed_ns": T0 + 60_000_000_000},
            "press：17:00 から異音、マイク a で最大。17:01 に復帰",
        ),
        ("en", {"kind": "silent", "mics": ("a", "b")}, "press: mic a, b is silent since 17:00"),
        ("ja", {"kind": "lost", "mics": ("a", "b")}, "press：17:00 からマイク a、b の信号なし"),
    ],
)
def test_reasons_read_well(lang: str, more: dict[str, object], expected: str) -> None:
    """A reason says which machine, since when in the site's time, where in the spectrum and how sure."""
    assert reason(facts(**more), "press", lang, "Asia/Tokyo") == expected  # type: ignore[arg-type]  # ja or en


def test_facts_survive_json() -> None:
    """Facts that went through JSON say the same."""
    one = facts(band_hz=(1.0, 2.0))
    assert Facts.of(one.plain()) == one


def test_times_show_the_date_when_it_is_not_today() -> None:
    """Today needs no date; another day of the site does, and nothing has no time."""
    hour = 3600 * 1_000_000_000
    assert clock(T0, "Asia/Tokyo", T0 + hour) == "17:00:00"
    assert clock(T0, "Asia/Tokyo", T0 + 7 * hour) == "2027-01-15 17:00"
    assert clock(T0, "UTC", T0 + 7 * hour) == "08:00:00"
    assert clock(0, "UTC") == "–"


def test_lengths_of_time() -> None:
    """Lengths are rounded down to their largest unit and never negative."""
    assert [ago(s, "en") for s in (-1, 59.9, 60, 7300, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]
    assert ago(7300, "ja") == "2時間"
