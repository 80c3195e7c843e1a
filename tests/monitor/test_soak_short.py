"""A short soak: one simulated hour of forty microphones. The long one is tests/benchmarks/bench_soak.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from soakledger import SCORED, Ledger
from soakline import Soak, build
from soakrun import Found, Soaking

from streams.embedded.broker import EmbeddedBroker
from streams.records import TOPIC_DEAD, TOPIC_SCORES

SOAK = Soak(mics=40, windows=36, retention_s=600, results_s=1200, history_days=1 / 96, kill=False, chunk=40)
pytestmark = pytest.mark.timeout(600)  # on a busy machine; it takes half a minute of processor time
WINDOW_MB = 0.07  # 64 kB of sound, and what SQLite adds


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the soak found."""
    return Soaking(build(tmp_path_factory.mktemp("soak"), SOAK), SOAK, every_s=2.0).run()


@pytest.mark.slow
@pytest.mark.xdist_group("soak")
def test_every_accepted_window_has_one_end(soaked: Found) -> None:
    """What the broker accepted ends scored, rejected, dead or expired, once; the ledger and /metrics agree by mic."""
    assert soaked.counts["accepted"] == SOAK.mics * SOAK.windows
    assert soaked.differences == []
    assert (soaked.contradictions, soaked.never_accepted) == (0, 0)
    assert sum(soaked.metrics.values()) == soaked.counts["accepted"]
    assert min(soaked.metrics.values()) > 0, "each of the four ends must have been met, or the test shows little"


@pytest.mark.slow
@pytest.mark.xdist_group("soak")
def test_disk_is_bounded_by_retention(soaked: Found) -> None:
    """Windows take the room of their retention, and of the segment that is begun, however long the soak goes on."""
    kept = SOAK.mics * (SOAK.retention_s * 1.5 / SOAK.period_s + 2)
    assert max(one["disk_mb"]["windows"] for one in soaked.samples) < kept * WINDOW_MB + 17  # and a log of 16 MB
    assert soaked.tables["outbox"] == 0
    assert soaked.tables["points"] <= 2 * SOAK.mics * SOAK.windows


@pytest.mark.slow
@pytest.mark.xdist_group("soak")
def test_processes_stay_as_they_are(soaked: Found) -> None:
    """From the middle to the end of the soak no process gains descriptors, threads or more than a little memory."""
    half = soaked.samples[len(soaked.samples) // 2 :]
    for name in ("monitor", "worker"):
        same = [one[name] for one in half if name in one and one[name]["pid"] == soaked.samples[-1][name]["pid"]]
        first, last = same[0], same[-1]
        assert last["threads"] <= first["threads"] + 1
        assert last["fds"] <= max(one["fds"] for one in same[: len(same) // 2 + 1]) + 12  # four files of three each
        assert last["anon_mb"] <= first["anon_mb"] + 40


def test_a_lost_window_would_be_noticed(tmp_path: Path) -> None:
    """The ledger tells a window that never ended, one that ended in two ways and one that nobody sent."""
    soak = Soak(mics=5, windows=4)
    broker = EmbeddedBroker(tmp_path / "broker")
    ledger = Ledger(soak, broker)
    broker.close()
    for number in range(3):
        ledger.accept(1, number)
    sent, unsent = soak.identity(1, 0)._asdict(), soak.identity(2, 0)._asdict()
    ledger.take(TOPIC_SCORES, {**sent, "status": "ok"})
    ledger.take(TOPIC_DEAD, {"headers": sent})
    ledger.take(TOPIC_SCORES, {**unsent, "status": "ok"})
    assert ledger.ends[1, 0] == SCORED
    assert (ledger.contradictions, ledger.repeated, ledger.never_accepted) == (1, 1, 1)
    assert ledger.counts() == {"accepted": 3, "scored": 1, "rejected": 0, "dead": 0, "expired": 2}
