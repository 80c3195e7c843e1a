"""The container way and `make kafka` are the same Kafka, and the settings fit what the code sends."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.kafka.connection import KAFKA_MESSAGE_BYTES

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ADDRESSES = {  # what differs between a process and a container
    "listeners",
    "advertised.listeners",
    "controller.quorum.voters",
    "log.dirs",
    "inter.broker.listener.name",
}


def properties() -> dict[str, str]:
    lines = (DEPLOY / "kafka" / "server.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def container() -> dict[str, str]:
    """The KAFKA_ variables of compose.yaml as properties; it is written one variable a line."""
    text = (DEPLOY / "compose.yaml").read_text()
    found = re.findall(r"^      KAFKA_([A-Z_]+): \"?([^\"\n]+)\"?$", text, re.MULTILINE)
    return {name.lower().replace("_", "."): value for name, value in found if name != "HEAP_OPTS"}


def test_both_ways_have_the_same_settings() -> None:
    """Every property but addresses has the same value in compose.yaml, and none is missing on either side."""
    ours, theirs = properties(), container()
    assert ours.keys() == theirs.keys()
    assert {key: theirs[key] for key in ours.keys() - ADDRESSES} == {key: ours[key] for key in ours.keys() - ADDRESSES}


def test_both_ways_have_the_same_version() -> None:
    """The image carries the version that pom.xml fetches and that the tests run."""
    pom = (DEPLOY / "kafka" / "pom.xml").read_text()
    version = re.search(r"<kafka.version>([0-9.]+)</kafka.version>", pom)
    image = re.search(r"image: apache/kafka:([0-9.]+)$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    assert version
    assert image
    assert image[1] == version[1]
    assert version[1].startswith("4.")


def test_the_largest_message_fits() -> None:
    """A server takes what a topic of ours allows, and both what the contract promises."""
    assert int(properties()["message.max.bytes"]) == KAFKA_MESSAGE_BYTES


def test_it_listens_to_this_machine_alone() -> None:
    """Neither way opens a port to a network by itself."""
    assert "127.0.0.1:@port@" in properties()["listeners"]
    ports = re.findall(r"^      - \"([^\"]+)\"$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    assert ports == ["127.0.0.1:9092:9092"]


def test_the_page_names_every_setting() -> None:
    """docs/kafka.md has every key of [broker.security] and every variable of kafka.sh."""
    page = (DEPLOY.parent / "docs" / "kafka.md").read_text()
    script = (DEPLOY / "kafka" / "kafka.sh").read_text()
    variables = set(re.findall(r"\bKAFKA_[A-Z_]+\b", script))
    keys = {"protocol", "ca", "cert", "key", "check_hostname", "mechanism", "username", "password", "password_file"}
    assert {name for name in variables if f"`{name}`" not in page} == set()
    assert {key for key in keys if f"{key} = " not in page} == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("streams.broker", ("kafka", "faust", "aiokafka", "torch")),
        ("monitor.ingest", ("kafka", "faust", "aiokafka", "torch")),
        ("streams.kafka.broker", ("faust", "aiokafka", "torch")),
        ("streams.faust_app.worker", ("torch", "sklearn")),
    ],
)
def test_only_who_needs_kafka_loads_it(module: str, absent: tuple[str, ...]) -> None:
    """A line on the embedded broker loads no Kafka, a gateway no Faust, a worker's loop no torch."""
    code = f"import {module}, sys; print([name for name in {absent!r} if name in sys.modules])"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
