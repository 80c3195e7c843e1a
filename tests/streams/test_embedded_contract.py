"""The embedded broker keeps the contract, with windows in segments and with small topics in one table."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_contract import BrokerContract
from embedded_place import EmbeddedPlace

from streams.broker import Broker, TopicSpec


class TestEmbeddedSegments(BrokerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[EmbeddedPlace]:
        place = EmbeddedPlace(tmp_path / "broker")
        yield place
        place.close()


class TestEmbeddedTinySegments(BrokerContract):
    """Every flush begins a new file: each test crosses many borders."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[EmbeddedPlace]:
        place = EmbeddedPlace(tmp_path / "broker", segment_bytes=1)
        yield place
        place.close()


class TestEmbeddedTable(BrokerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[EmbeddedPlace]:
        place = EmbeddedPlace(tmp_path / "broker")
        yield place
        place.close()

    @pytest.fixture
    def topic(self, place: EmbeddedPlace, broker: Broker) -> str:
        name = place.name("sound")
        broker.ensure_topics([TopicSpec(name, 4, 86_400.0, segmented=False)])
        return name
