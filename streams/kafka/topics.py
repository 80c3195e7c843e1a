"""How a topic of ours must be on Kafka: made where it is missing, refused where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.contract import BrokerError, TopicSpec
from streams.kafka.admin import counted
from streams.kafka.connection import KAFKA_MESSAGE_BYTES

_DAY_MS = 86_400_000


def wanted(spec: TopicSpec, nodes: int = 3) -> dict[str, str]:
    """The topic's settings. Retention unlinks whole segments, so a segment is a fraction of it.

    On one node, where no copy survives a loss of power, each message is forced to disk before it is confirmed. Kafka's
    own topics are not: a commit that is lost is only work done twice.
    """
    retention_ms = max(1, round(spec.retention_s * 1000))
    return {
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "cleanup.policy": "delete",
        "segment.ms": str(min(_DAY_MS, max(60_000, retention_ms // 12))),
        "max.message.bytes": str(KAFKA_MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",  # a producer's wrong clock must not expire its windows
        **({"flush.messages": "1"} if nodes == 1 else {}),
    }


def ensure(admin: KafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """Create what is missing, then check everything. Raises BrokerError naming each topic that does not fit."""
    known = counted(admin, [spec.name for spec in specs])
    nodes = len(admin.describe_cluster()["brokers"])
    missing = {
        spec.name: {"num_partitions": spec.partitions, "replication_factor": -1, "configs": wanted(spec, nodes)}
        for spec in specs
        if spec.name not in known
    }
    if missing:
        try:
            admin.create_topics(missing)
        except errors.TopicAlreadyExistsError:  # another process of the line was faster
            _create_one_by_one(admin, missing)
        admin.wait_for_topics(list(missing))
        known = counted(admin, [spec.name for spec in specs])
    settings = _settings(admin, [spec.name for spec in specs])
    faults = [fault for spec in specs for fault in _faults(spec, known.get(spec.name, 0), settings.get(spec.name, {}))]
    if faults:
        raise BrokerError("; ".join(faults))


def _create_one_by_one(admin: KafkaAdminClient, missing: Mapping[str, Any]) -> None:
    for name, options in missing.items():
        try:
            admin.create_topics({name: options})
        except errors.TopicAlreadyExistsError:
            continue


def _settings(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answer = admin.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(value["value"]) for key, value in values.items()}
        for name, values in answer.get("topic", {}).items()
    }


def _faults(spec: TopicSpec, partitions: int, settings: Mapping[str, str]) -> list[str]:
    faults = []
    if partitions < spec.partitions:
        faults.append(
            f"topic {spec.name} has {partitions} partitions, wanted are {spec.partitions}: "
            f"set partitions to {partitions} under [broker], or delete the topic while the line stands still"
        )
    if int(settings.get("max.message.bytes", 0)) < KAFKA_MESSAGE_BYTES:
        faults.append(_fault(spec, settings, "max.message.bytes", f"at least {KAFKA_MESSAGE_BYTES}"))
    retention_ms = int(settings.get("retention.ms", 0))
    if 0 <= retention_ms < round(spec.retention_s * 1000):
        faults.append(_fault(spec, settings, "retention.ms", f"at least {round(spec.retention_s * 1000)}"))
    if settings.get("cleanup.policy") != "delete":
        faults.append(_fault(spec, settings, "cleanup.policy", "delete"))
    return faults


def _fault(spec: TopicSpec, settings: Mapping[str, str], key: str, allowed: str) -> str:
    value = wanted(spec)[key]
    return (
        f"topic {spec.name} has {key}={settings.get(key, 'nothing')}, allowed is {allowed}: "
        f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} --add-config {key}={value}"
    )
