"""`kill -9` of any process at any time loses no accepted window; and this test would notice if it did."""

import random
from pathlib import Path

import pytest
from kill_line import KilledLine

RIGHT = "write,flush,commit"
WRONG = "commit,write,flush"


def mixed_deaths(line: KilledLine, seed: int) -> int:
    """Twenty deaths: at every named point of a worker and of the broker, and some at any time."""
    rng = random.Random(seed)
    for child, points in (
        (line.producers[0], ["append", "roll-sealed", "appended", "roll-registered"]),
        (line.producers[1], ["roll-built", "append", "appended", "roll-sealed"]),
        (line.workers[0], ["polled", "written", "flushed", "committed"]),
        (line.workers[1], ["processed", "flushed", "written", "polled"]),
    ):
        child.deaths = [f"{point}:{1 if point.startswith('roll') else rng.randint(1, 4)}" for point in points]
        child.deaths.insert(rng.randint(0, 4), f"random:{rng.uniform(0.3, 1.0):.2f}")
    return sum(len(child.deaths) for child in (*line.producers, *line.workers))


@pytest.mark.slow
def test_twenty_deaths_lose_nothing(tmp_path: Path) -> None:
    """2,000 windows, 20 kills within and between poll, write, commit, append, roll: each accepted one has a result."""
    line = KilledLine(tmp_path, 2_000, RIGHT)
    deaths = mixed_deaths(line, seed=2026)
    outcome = line.run()
    outcome.audit(2_000)
    assert outcome.kills == deaths == 20
    assert set(outcome.dead) == {one for one in outcome.dead if one[2] % 101 == 7}
    print(f"{outcome.kills} kills, {len(outcome.acknowledged)} windows accepted, 0 lost, {outcome.repeated} repeated")


@pytest.mark.slow
def test_a_commit_before_its_write_is_noticed(tmp_path: Path) -> None:
    """The same line with the commit moved before the write loses windows, and the audit says so."""
    line = KilledLine(tmp_path, 400, WRONG)
    for child in line.workers:
        child.deaths = ["committed:2", "committed:3"]
    outcome = line.run()
    assert outcome.kills == 4
    with pytest.raises(AssertionError, match="accepted windows lost"):
        outcome.audit(400)
    assert len(outcome.lost) >= 4
    assert not outcome.unfinished


@pytest.mark.slow
def test_the_same_deaths_in_the_right_order_lose_nothing(tmp_path: Path) -> None:
    """The control of the test above: only the order differs."""
    line = KilledLine(tmp_path, 400, RIGHT)
    for child in line.workers:
        child.deaths = ["committed:2", "committed:3"]
    outcome = line.run()
    outcome.audit(400)
    assert outcome.kills == 4
