"""Explanations for people: words in both languages, the picture's caption and the JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hummingline import RATE, hum, trained, write_line

from detectors.explain import Band, Explanation, Guess, Kind
from detectors.library import Nearest
from detectors.store import load_models
from monitor.clip_score import score_clip
from monitor.guesses import Explained, explain_clip, in_words
from monitor.score import score_files
from monitor.settings import Line
from monitor.words import LANGS
from streams import soundfiles


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return trained(write_line(tmp_path_factory.mktemp("line")))


def said(guess: Guess, lang: str = "en") -> str:
    found = Explained(Explanation((Band(2000.0, 2600.0, 9.2, 7.0, guess),), None), 0.0, 10.0, 3.0)
    return in_words(found, lang)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("guess", "text"),
    [
        (Guess("impacts", 91.0, "BPFO", 1), "impacts, 91.0 a second: fits the outer race of the bearing (BPFO)"),
        (Guess("impacts", 24.5, "shaft", 1), "impacts, 24.5 a second: once a turn of the shaft"),
        (Guess("impacts", 12.0), "impacts, 12.0 a second"),
        (Guess("tone", 1456.0, "mesh", 3), "a tone at 1,456 Hz: fits 3 x the gear mesh"),
        (Guess("tone", 23.0, "shaft", 1), "a tone at 23 Hz: fits the shaft"),
        (Guess("tone", 5000.0), "a tone at 5,000 Hz"),
        (Guess("hiss"), "broadband hiss (a leak, friction or the like)"),
    ],
)
def test_a_guess_is_said_with_its_place(guess: Guess, text: str) -> None:
    """Band, departure and guess make one line."""
    assert said(guess) == f"1. 2.0-2.6 kHz (+9 dB): {text}"


def test_every_kind_and_part_has_words_in_both_languages() -> None:
    """Nothing that can be guessed is without words, and Japanese lines are Japanese."""
    guesses = [Guess(kind, 50.0) for kind in get_args(Kind)]
    guesses += [Guess("impacts", 50.0, part, 1) for part in ("BPFO", "BPFI", "2BSF", "shaft")]
    guesses += [Guess("tone", 50.0, part, 2) for part in ("shaft", "mesh")]
    texts = {lang: [said(guess, lang) for guess in guesses] for lang in LANGS}
    assert len(set(texts["ja"])) == len(set(texts["en"])) == len(guesses)
    assert all(any("\u3040" <= letter <= "\u9fff" for letter in text) for text in texts["ja"])
    assert not any(any("\u3040" <= letter <= "\u9fff" for letter in text) for text in texts["en"])


def test_nothing_odd_is_said_too() -> None:
    """No band, and still a recording to listen to; an older model has none."""
    quiet = Explained(Explanation((), Nearest("a/3.wav", 5.0, 0.4)), 0.0, 10.0, 0.1)
    assert in_words(quiet, "en") == [
        "No band departs much from healthy.", "Compare by ear: nearest healthy recording a/3.wav, from 5 s",
    ]  # fmt: skip
    assert "a/3.wav" in in_words(quiet, "ja")[1]
    assert len(in_words(Explained(Explanation((), None), 0.0, 10.0, 0.1), "ja")) == 1


def test_the_worst_context_is_explained(line: Line) -> None:
    """A hiss around 5 kHz in the second half is found there, with a healthy recording of the same machine."""
    model = load_models(line.models / "fan")["*"]
    sound = hum(40.0, 120.0, 601)
    sound[20 * RATE :] = hum(40.0, 120.0, 601, fault=0.02)[20 * RATE :]
    found = explain_clip(sound, model, score_clip(Path("x"), sound, model))
    assert found.start_s >= 20.0
    assert found.end_s - found.start_s == 10.0
    band = found.explanation.bands[0]
    assert band.low_hz < 5000.0 < band.high_hz
    assert band.guess.kind == "hiss"
    assert found.explanation.nearest is not None
    assert found.explanation.nearest.recording in {f"{n}.wav" for n in range(8)}


@pytest.mark.parametrize("lang", LANGS)
def test_the_picture_has_its_explanation_beside_it(line: Line, tmp_path: Path, lang: str) -> None:
    """--plot writes NAME.heat.png and NAME.heat.json; the JSON has numbers and the words of both languages."""
    path = tmp_path / "odd.wav"
    soundfiles.write_wav(path, hum(14.0, 120.0, 602, fault=0.02), RATE)
    score_files([path], line.models / "fan", out=tmp_path / "out" / "s.csv", plot=True, lang=lang)
    assert (tmp_path / "out" / "odd.heat.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "out" / "odd.heat.json").read_text(encoding="utf-8"))
    assert told["bands"][0]["guess"]["kind"] == "hiss"
    assert told["score"] > 1.0
    assert told["words"]["en"][0].startswith("1. ")
    assert "雑音" in told["words"]["ja"][0]
