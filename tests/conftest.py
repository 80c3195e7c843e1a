"""What all tests share: one real Kafka for those that need one, and a line that says whether it was real."""

from __future__ import annotations

import os

# One thread for each process of the tests: two times two threads on two cores wait for each other. Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from kafka_server import VERSION, KafkaServer, why_absent

# The same examples in every run: a change is judged by what it changed. HYPOTHESIS_PROFILE=searching looks anew.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("searching")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

_REPORT = pytest.StashKey[str]()
_KEY = "kafka"


@pytest.fixture(scope="session")
def kafka_absent(request: pytest.FixtureRequest) -> str:
    """Empty where Kafka can be started; else why not."""
    reason = why_absent()
    real = f"Kafka: real, Apache Kafka {VERSION} (KRaft), started and stopped by the tests"
    request.config.stash[_REPORT] = f"Kafka: absent, its tests were skipped ({reason})" if reason else real
    return reason


@pytest.fixture(scope="session")
def kafka_server(kafka_absent: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka for the whole session. Tests that use it carry `pytest.mark.xdist_group("kafka")`."""
    if kafka_absent:
        pytest.skip(kafka_absent)
    server = KafkaServer(tmp_path_factory.mktemp("kafka")).start()
    yield server
    server.stop()


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:  # a process of pytest-xdist: its report goes to the one that prints
        output[_KEY] = session.config.stash.get(_REPORT, "")


class _Collector:
    """Where pytest-xdist is used, hears what its processes report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        report = getattr(node, "workeroutput", {}).get(_KEY, "")
        if report:
            self._config.stash[_REPORT] = report


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Collector(config))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line says whether Kafka was real."""
    report = config.stash.get(_REPORT, "") or "Kafka: not asked for by the tests that ran"
    terminalreporter.write_line(report)
