"""Names of faults: what the library tells apart, what staff have confirmed, and the way to the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from clipscene import prepared
from hummingline import RATE, hum, write_line

from detectors.base import Evidence
from detectors.exposure_mix import Doses, FaultSound, expose, heard, mix
from detectors.frontend import FrontEnd
from detectors.recordings import Clip, choose_contexts
from monitor.action_store import ActionStore
from monitor.actions import By
from monitor.alarm_schema import open_db
from monitor.evidence import mic_mark
from monitor.exposing import FaultOrder, fault_sounds, kinds_for
from monitor.naming import Confirmed, Namer
from monitor.naming_confirmed import confirmed_clips
from monitor.naming_share import Guess
from monitor.naming_store import NAMING, read_confirmed
from monitor.naming_words import KINDS, both, in_words
from monitor.settings import Line, load_line
from monitor.train import train_line
from sds_engine.physics.faults import FAULT_KINDS, FAULTS

FRONT_END = FrontEnd.at(RATE)
SIZE, SECONDS = 2 * RATE, 4.0
KINDS_HERE = ("outer_race", "leak", "belt_squeal")
RECORDINGS = [hum(SECONDS, 120.0, seed) for seed in range(10)]


def library(first: int, each: int) -> list[FaultSound]:
    """One of every kind at a time."""
    return [one for seed in range(each) for one in fault_sounds("physics", FaultOrder(KINDS_HERE, 3, first + seed))]


@pytest.fixture(scope="module")
def namer() -> Namer:
    clips = [Clip(torch.from_numpy(sound), str(number)) for number, sound in enumerate(RECORDINGS)]
    chosen = choose_contexts(clips, SIZE, RATE, 2, grouped=True, seed=0)
    sounds = library(0, 6)
    exposed = expose(clips, chosen, sounds, FRONT_END, SIZE, Doses(3 * len(sounds), -6.0, 9.0))
    plain = heard([clip.samples for clip in clips], FRONT_END, SIZE)
    return Namer.fit(plain, exposed, [one.kind for one in sounds])


def odd(sounds: list[FaultSound], level_db: float = 0.0, first: int = 50) -> Evidence:
    rng = np.random.default_rng(3)
    found = []
    for number, fault in enumerate(sounds):
        healthy = torch.from_numpy(hum(SECONDS, 120.0, first + number))
        found.append(mix(healthy, fault.part(healthy, RATE, rng), level_db))
    return heard(found, FRONT_END, SIZE)


def test_faults_of_other_draws_get_their_names(namer: Namer) -> None:
    """Faults that the namer never heard, in recordings that it never heard: most get their kind's name first."""
    sounds = library(100, 5)
    rows = namer.departure(odd(sounds))
    right = [namer.names(row)[0].kind == one.kind for row, one in zip(rows, sounds, strict=True)]
    assert np.mean(right) > 0.7  # chance is a third


def test_shares_are_shares(namer: Namer) -> None:
    """At most three names, the likeliest first, no share above 1 in all, none of the others below a tenth."""
    for row in namer.departure(odd(library(200, 2), -12.0)):
        guesses = namer.names(row)
        shares = [one.share for one in guesses]
        assert 1 <= len(guesses) <= 3
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.0 + 1e-6
        assert all(share >= 0.1 for share in shares[1:])


def test_a_confirmed_window_gives_its_name_to_its_like(namer: Namer) -> None:
    """The same fault in another recording takes the name that staff gave; another fault keeps the library's."""
    thud, other = library(300, 1)[0], library(300, 1)[1]
    known = namer.departure(odd([thud], first=50))[0]
    confirmed = [Confirmed("3号機の軸受", known)]
    again = namer.names(namer.departure(odd([thud], first=70))[0], confirmed)
    assert again[0].kind == "3号機の軸受"
    assert again[0].share > 0.5
    strange = namer.names(namer.departure(odd([other], first=70))[0], confirmed)
    assert strange[0].kind != "3号機の軸受"


def test_more_confirmations_make_it_surer(namer: Namer) -> None:
    """Three windows with a name weigh more than one, and one of another length of features not at all."""
    thud = library(400, 1)[0]
    known = [Confirmed("bearing 3", row) for row in namer.departure(odd([thud] * 3, first=50))]
    row = namer.departure(odd([thud], first=70))[0]
    one, three = (namer.names(row, known[:count])[0] for count in (1, 3))
    assert three.share > one.share
    assert namer.names(row, [Confirmed("old", torch.ones(7))]) == namer.names(row)


def test_a_namer_comes_back_as_it_was(namer: Namer) -> None:
    """From its state it gives the same names; a state of another size is refused."""
    row = namer.departure(odd(library(500, 1)))[0]
    again = Namer.restore({key: value.clone() for key, value in namer.state().items()}, namer.kinds)
    assert again.names(row) == namer.names(row)
    with pytest.raises(ValueError, match=r"net\.3"):
        Namer.restore(namer.state(), [*namer.kinds, "one more"])
    with pytest.raises(ValueError, match="at least 2"):
        Namer.fit(odd(library(0, 1)), None, ["leak"])  # type: ignore[arg-type]  # refused before it is looked at


def test_every_kind_has_a_name_in_both_languages() -> None:
    """Kinds of the library are told in words, never as identifiers; staff's own names stay as they are."""
    assert set(KINDS) == set(FAULT_KINDS)
    assert "_" not in "".join(one for names in KINDS.values() for one in names)
    told = both([Guess("outer_race", 0.62), Guess("ネジ", 0.2)])
    assert told == {"ja": "軸受外輪の傷 62%、ネジ 20%", "en": "outer race of a bearing 62%, ネジ 20%"}
    assert in_words([Guess("leak", 0.3)], "en") == "unclear (leak 30%)"
    assert in_words([], "ja") == ""


@pytest.mark.parametrize(
    ("prompt", "kind"), [("industrial fan", "fan"), ("給水ポンプ", "pump"), ("Belt Conveyor 3", "conveyor"), ("", "")]
)
def test_the_prompt_says_which_faults_there_may_be(prompt: str, kind: str) -> None:
    """A prompt that names a kind of machine narrows the library to its faults; another leaves all of them."""
    assert kinds_for(prompt) == (FAULTS[kind] if kind else FAULT_KINDS)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    path = write_line(tmp_path_factory.mktemp("naming"), live_s=4.0)
    path.write_text(path.read_text().replace('id = "fan"', 'id = "fan"\nprompt = "press"', 1))  # four kinds of fault
    made = load_line(path)
    train_line(made, only=["fan"], detector="neighbours", quiet=True)
    return made


def test_from_the_alarm_to_the_page_and_back(line: Line) -> None:
    """A clip is named in both languages; once staff name it, the next clip of that sound bears their name."""
    first = prepared(line, "0" * 16, hum(20.0, 120.0, 99, fault=0.03))
    told = json.loads((first / "fault.json").read_text(encoding="utf-8"))
    assert set(told) == {"ja", "en"}
    assert "%" in told["en"]
    namers = list((line.site.data / "evidence" / "naming").iterdir())
    assert len(namers) == 1
    path = line.site.data / "alarms.sqlite"
    _raise_alarm(path, "a1", first.name)
    with ActionStore(path, ["fan"]) as actions:
        actions.judge("a1", "confirmed", By("sato", "operator", "local"), fault="給気漏れ")
    assert confirmed_clips(path, {mic_mark("fan-a")}) == [("給気漏れ", first.name)]
    assert confirmed_clips(path, {mic_mark("pump-a")}) == []
    namers[0].write_bytes(b"damaged")  # is made anew, not believed
    second = prepared(line, "1" * 16, hum(20.0, 120.0, 123, fault=0.03))
    guesses = json.loads((second / NAMING).read_text(encoding="utf-8"))["guesses"]
    assert guesses[0][0] == "給気漏れ"
    assert "給気漏れ" in json.loads((second / "fault.json").read_text(encoding="utf-8"))["ja"]


def _raise_alarm(path: Path, alert: str, clip: str) -> None:
    db = open_db(path, any_thread=False)
    columns = [row[1] for row in db.execute("PRAGMA table_info(alerts)")]
    values = {"alert_id": alert}
    db.execute(
        f"INSERT INTO alerts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        [values.get(name, 0 if name != "machine" else "fan") for name in columns],
    )
    db.execute("INSERT INTO clips VALUES (?, ?, 'fan-a', 0, 1, 'written')", (clip, alert))
    db.commit()
    db.close()


def test_what_is_no_record_is_left_out(tmp_path: Path) -> None:
    """Damaged, foreign or missing records of confirmed clips are passed over; no file is no confirmation."""
    for name, text in {"a": "{", "b": '{"departure": "x"}', "c": '{"departure": [1.0, 2.0]}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / NAMING).write_text(text)
    rows = [("f", "a"), ("f", "b"), ("good", "c"), ("f", "d"), ("f", "../c")]
    assert [one.fault for one in read_confirmed(tmp_path, rows)] == ["good"]
    assert confirmed_clips(tmp_path / "none.sqlite", {"x"}) == []
