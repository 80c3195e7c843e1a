"""The course of the scores: right, bounded, and no danger to anything else."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from watchline import T0, S, score

from monitor.history import MINUTE, MOST_OPEN, QUARTER, STEPS, History, HistoryReader

T0_S = T0 // S
HOUR = 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    made = History(path, ["press-a", "fan-a"], 30)
    yield made
    made.close()


@pytest.fixture
def reader(path: Path) -> Iterator[HistoryReader]:
    made = HistoryReader(path)
    yield made
    made.close()


@pytest.mark.parametrize("step", STEPS)
def test_points_say_what_a_slow_count_says(history: History, reader: HistoryReader, step: int) -> None:
    """Top, windows and odd ones of every point are those of the scores that lie in it."""
    values = np.random.default_rng(0).gamma(2.0, 0.5, 1800)
    for index, value in enumerate(values):
        history.add(score("press-a", index, float(value)), 2.0)
        if index % 7 == 0:
            history.flush()
    history.flush()
    found = reader.series("press-a", T0_S - step, T0_S + 2 * HOUR, step)
    starts = T0_S + 2 * np.arange(len(values))
    for point in found:
        mine = values[(starts >= point.at_s) & (starts < point.at_s + step)]
        assert point.windows == len(mine)
        assert point.odd == (mine >= 2.0).sum()
        assert point.top == pytest.approx(mine.max(), abs=0.006)
        assert mine.min() - 0.01 <= point.middle <= mine.max()
    assert sum(point.windows for point in found) == len(values)


def test_the_middle_is_the_median_of_what_came_at_once(history: History, reader: HistoryReader) -> None:
    """One loud window in a minute shows in the top and not in the middle."""
    for index in range(29):
        history.add(score("press-a", index, 0.3), 2.0)
    history.add(score("press-a", 29, 5.0), 2.0)
    history.flush()
    (point,) = reader.series("press-a", T0_S, T0_S + MINUTE, MINUTE)
    assert (point.top, point.middle, point.odd) == (5.0, 0.3, 1)


def test_only_scores_of_this_line_count(history: History, reader: HistoryReader) -> None:
    """Windows that are warming up have no score, and strangers have no place."""
    history.add(score("press-a", 0, math.nan, status="warming_up"), 2.0)
    history.add(score("saw-a", 0, 1.0), 2.0)
    history.flush()
    assert reader.series("press-a", 0, 2 * T0_S, QUARTER) == []
    assert reader.series("saw-a", 0, 2 * T0_S, QUARTER) == []


def test_old_points_go_minutes_first(path: Path, reader: HistoryReader) -> None:
    """Minutes are kept for three days, quarters for as long as the settings say: the file is bounded."""
    history = History(path, ["press-a"], 30)
    for day in range(60):
        history.add(score("press-a", day * 43_200, 1.0), 2.0)
    history.flush()
    now_s = T0_S + 60 * 86_400
    history.expire(now_s)
    minutes = reader.series("press-a", 0, now_s, MINUTE)
    quarters = reader.series("press-a", 0, now_s, QUARTER)
    assert [point.at_s >= now_s - 3 * 86_400 - QUARTER for point in minutes] == [True] * 3
    assert len(quarters) == 30
    history.close()


def test_a_restart_goes_on(path: Path, reader: HistoryReader) -> None:
    """A minute that a restart cut in two is one point."""
    for first in (0, 10):
        history = History(path, ["press-a"], 30)
        for index in range(first, first + 10):
            history.add(score("press-a", index, 0.1 * index), 2.0)
        history.close()
    (point,) = reader.series("press-a", T0_S, T0_S + MINUTE, MINUTE)
    assert (point.windows, point.top) == (20, 1.9)


def test_a_disk_that_takes_nothing_stops_nobody(history: History, reader: HistoryReader, path: Path) -> None:
    """While another holds the file, points wait; they are bounded; afterwards they are written."""
    history._db.execute("PRAGMA busy_timeout=1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    history.add(score("press-a", 0, 1.0), 2.0)
    history.flush()
    assert reader.series("press-a", 0, 2 * T0_S, MINUTE) == []
    other.execute("ROLLBACK")
    other.close()
    history.flush()
    assert len(reader.series("press-a", 0, 2 * T0_S, MINUTE)) == 1
    for index in range(0, MOST_OPEN * 30, 30):
        history.add(score("press-a", index, 1.0), 2.0)
        if history.refused:
            break
    assert len(history._open) <= MOST_OPEN
    history._open.clear()


def test_no_file_yet_reads_as_nothing(tmp_path: Path) -> None:
    """The page may come before the first score."""
    reader = HistoryReader(tmp_path / "none.sqlite")
    assert reader.series("press-a", 0, 2, MINUTE) == []
    assert reader.newest_s(["press-a"]) == 0
    assert not (tmp_path / "none.sqlite").exists()


def test_another_version_is_started_anew(path: Path) -> None:
    """A course of scores is no evidence: one that cannot be read is replaced."""
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE points (x); PRAGMA user_version=99;")
    db.close()
    history = History(path, ["press-a"], 30)
    history.add(score("press-a", 0, 1.0), 2.0)
    history.close()
    reader = HistoryReader(path)
    assert reader.newest_s(["press-a"]) == T0_S
    reader.close()
