"""Charts, pictures, healthy days and the listening test's sums: against closed forms and by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from watchline import T0, S, make_line, window

from monitor.actions import Vote
from monitor.evidence import Evidence
from monitor.explainer import Explainer
from monitor.history import Point
from monitor.keepsakes import KEEP_DAYS, Keeper, keepsakes
from monitor.show_clip import SHOWN, Job, failed, png_rgba
from monitor.web.charts import Frame, Span, score_chart, spark, thinned, time_ticks
from monitor.web.listening import tally, wilson
from monitor.web.spectrum import spectrum

DAY = 86_400


def points(*tops: float, step: int = 900) -> list[Point]:
    return [Point(index * step, top, top / 2, 10, 0, None) for index, top in enumerate(tops)]


def test_a_chart_is_wide_and_narrow_and_well_formed() -> None:
    """Both pictures are XML, say in words what they show, and escape what they are told."""
    words = ("scores of <press> & co", "limit")
    drawn = score_chart(points(1, 2, 3), (0, 2700), 900, 2.0, [Span(0, 900, "alert")], "Asia/Tokyo", words)
    pictures = [one + "</svg>" for one in str(drawn).split("</svg>") if one]
    assert len(pictures) == 2
    for picture in pictures:
        assert ElementTree.fromstring(picture).get("aria-label") == words[0]


def test_nothing_is_drawn_where_nothing_was_heard() -> None:
    """A gap cuts the line in two."""
    course = points(1, 1, 1) + [point._replace(at_s=point.at_s + 40_000) for point in points(1, 1)]
    words = ("x", "")
    assert str(score_chart(course, (0, 45_000), 900, None, [], "UTC", words)).count('class="c-middle"') == 4
    assert str(score_chart(course[:3], (0, 45_000), 900, None, [], "UTC", words)).count('class="c-middle"') == 2


def test_thinning_loses_no_peak() -> None:
    """However many points become one, the highest stays and the windows add up."""
    course = [*points(*([0.1] * 1000)), Point(900_000, 7.0, 0.1, 10, 1, None)]
    few = thinned(course, 90)
    assert len(few) <= 91
    assert max(point.top for point in few) == 7.0
    assert sum(point.windows for point in few) == sum(point.windows for point in course)


def test_the_frame_holds_what_is_outside() -> None:
    """Scores and times beyond the axes stay on their edges."""
    frame = Frame(0, 100, 4, 960, 280)
    assert frame.y(99) == frame.y(4)
    assert frame.y(-1) == frame.y(0)
    assert frame.x(-5) == frame.x(0)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Berlin"])
@pytest.mark.parametrize("hours", [6, 24, 168, 720])
def test_ticks_are_round_times_of_the_site(zone: str, hours: int) -> None:
    """Labels are whole local hours or dates, ordered, within the span, and few, also over a change to summer time."""
    end = 1_774_828_800 + 5 * 3600  # 30 March 2026, a day after Berlin changed
    ticks = time_ticks(end - hours * 3600, end, zone, 8)
    assert 1 <= len(ticks) <= 10
    assert [at for at, _ in ticks] == sorted(at for at, _ in ticks)
    assert all(end - hours * 3600 <= at <= end for at, _ in ticks)
    assert all(text[-2:] == "00" or "-" in text or text.endswith("30") for _, text in ticks)


def test_a_strip_shows_what_is_odd() -> None:
    """Bars at or above the threshold are of the odd kind."""
    drawn = str(spark(points(0.5, 2.5), 0, 1800, 900, 2.0))
    assert drawn.count("M") - 1 == 2
    assert 's-odd" d="M120' in drawn


def test_the_spectrum_names_its_bands() -> None:
    """Each frame has its number, and frequency labels keep their distance."""
    shown = {"ticks": [[250, 0.1], [260, 0.11], [4000, 0.8]], "duration_s": 20.0, "start_s": 5.0, "end_s": 15.0}
    drawn = str(spectrum({**shown, "frames": [[0.2, 0.3], [0.7, 0.8]]}, "/a.png", "/b.png", ("x", "s")))
    assert drawn.count('class="band-no"') == 4
    assert ">250<" in drawn
    assert ">260<" not in drawn
    assert ">4 k<" in drawn


def test_png_is_what_went_in() -> None:
    """The picture decodes, by the standard's rules, to the same pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 4)).astype(np.uint8)
    png = png_rgba(pixels)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    raw = zlib.decompress(png[start + 4 : start + 4 + length])
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * 4)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:].reshape(height, width, 4) == pixels).all()
    assert zlib.crc32(png[12:29]) == struct.unpack(">I", png[29:33])[0]


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (5, 10), (10, 10), (50, 100)])
def test_the_interval_solves_wilsons_equation(hits: int, total: int) -> None:
    """Its ends are the p at which |p - hits/n| is 1.96 standard errors of p itself."""
    share, low, high = wilson(hits, total)
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:  # at 0 and 1 the interval is cut
            assert abs(end - share) == pytest.approx(1.959964 * (end * (1 - end) / total) ** 0.5, rel=1e-6, abs=1e-7)
    assert low <= share <= high
    assert wilson(0, 0) == (0.5, 0.0, 1.0)


def test_votes_count_for_versions_not_for_sides() -> None:
    """Who stood on the left does not matter; other pairs are not mixed in."""
    votes = [
        Vote("1", "c", "raw", "separated", "b", "x"),
        Vote("2", "c", "separated", "raw", "a", "x"),
        Vote("3", "c", "raw", "separated", "a", "y"),
        Vote("4", "c", "raw", "separated", "same", "z"),
        Vote("5", "c", "raw", "nearest", "a", "z"),
    ]
    (one,) = tally(votes)
    assert (one.version, one.raw, one.other, one.same) == ("separated", 1, 2, 1)


class Days:
    """A keeper over rings, and days that pass."""

    def __init__(self, folder: Path) -> None:
        self.line = make_line(folder, machines={"press": ("press-a",)})
        self.folder = self.line.site.data / "evidence"
        self.evidence = Evidence(self.line, self.folder)
        self.keeper = Keeper(self.evidence, self.folder, "Asia/Tokyo")

    def pass_one(self, day: int, *, state: str = "ok", score: float = 0.2, windows: int = 8) -> int:
        first = day * DAY // 2
        for index in range(first, first + windows):
            one = window("press-a", index)
            pcm = (one.samples * 32_767).astype("<i2").tobytes()
            self.evidence.hear("press-a", "s", index, one.start_ns, one.rate, pcm)
        last_ns = T0 + (first + windows) * 2 * S
        mic = {"id": "press-a", "score": score, "threshold": 2.0, "last_ns": last_ns}
        return self.keeper.look({"machines": [{"state": state, "mics": [mic]}]})


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    made = Days(tmp_path)
    yield made
    made.evidence.close()


def test_one_healthy_sound_a_day_for_nine_days(days: Days) -> None:
    """Once a day, ten seconds; after weeks there are those of the last days only."""
    for day in range(20):
        assert days.pass_one(day) == 1
        assert days.pass_one(day) == 0
    kept = keepsakes(days.folder, "press-a")
    assert KEEP_DAYS <= len(kept) <= KEEP_DAYS + 1
    assert kept == sorted(kept, key=lambda one: one.at_ns)


def test_nothing_odd_is_kept_as_healthy(days: Days) -> None:
    """Not while there is an alarm, not near the threshold, not when there is too little sound."""
    assert days.pass_one(0, state="alert") == 0
    assert days.pass_one(0, score=1.9) == 0
    assert days.pass_one(1, windows=2) == 0
    assert days.pass_one(2) == 1


def test_a_restart_keeps_no_second_one(days: Days) -> None:
    """What lies there already counts."""
    assert days.pass_one(0) == 1
    days.keeper = Keeper(days.evidence, days.folder, "Asia/Tokyo")
    assert days.pass_one(0) == 0


def test_each_clip_is_prepared_once_and_goes_with_its_folder(tmp_path: Path) -> None:
    """Clips that are prepared, or could not be, are not asked for again; what belongs to a clip goes with it."""
    line = make_line(tmp_path, machines={"press": ("press-a",)})
    evidence = Evidence(line, line.site.data / "evidence")
    explainer = Explainer(line, evidence.clips)
    mark = next(iter(explainer._mics))
    clip = f"{'0' * 16}-{mark}"
    (evidence.clips / f"{clip}.flac").write_bytes(b"fLaC")
    (evidence.clips / "0000000000000000-00000000.flac").write_bytes(b"fLaC")
    (job,) = explainer.jobs()
    assert (Path(job.clip).stem, job.mic, Path(job.model).name) == (clip, "press-a", "press")
    failed(job, "no model")
    assert explainer.jobs() == []
    assert (evidence.clips.parent / "shown" / clip / SHOWN).exists()
    (evidence.clips / f"{clip}.flac").unlink()
    explainer._tidy()
    assert not (evidence.clips.parent / "shown" / clip).exists()
    evidence.close()


def test_versions_made_by_others_survive(tmp_path: Path) -> None:
    """Preparing a clip again leaves its separated version where it is."""
    target = tmp_path / "shown" / "clip"
    target.mkdir(parents=True)
    (target / "separated.flac").write_bytes(b"fLaC")
    failed(Job("c", "m", "mic", "h", str(target)), "x" * 1000)
    assert (target / "separated.flac").exists()
    assert (target / SHOWN).stat().st_size < 600
    assert [one.name for one in target.parent.iterdir()] == ["clip"]
