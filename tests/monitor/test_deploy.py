"""deploy/ without a container engine: every reference exists, every command is ours, every settings file loads."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.settings import load_line

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "line" / "compose.yaml"
PARTS = ("ingest", "worker", "monitor")


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "line.yaml").read_text(encoding="utf-8")))


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents() if one["kind"] == kind}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_yaml_file_parses(path: Path) -> None:
    """Every YAML file under deploy/ can be read, each document of it is a mapping."""
    assert all(isinstance(one, dict) for one in yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_mounted_files_exist() -> None:
    """What compose.yaml mounts from the project is there, and named volumes are declared."""
    compose = load(COMPOSE)
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), f"{name} mounts {source}"
            else:
                assert source in compose["volumes"], f"{name} mounts {source}"


def test_containers_run_our_commands() -> None:
    """Each part's container runs the command of its name on the mounted settings, as `factory-ear` knows it."""
    from monitor.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    services = load(COMPOSE)["services"]
    for part in PARTS:
        assert part in known
        assert services[part]["command"] == [part, "-c", "/etc/factory-ear/line.toml"]
        assert "./line.toml:/etc/factory-ear/line.toml:ro" in services[part]["volumes"]


def test_ports_are_open_on_this_machine_alone() -> None:
    """No port of compose.yaml is published to the network."""
    for name, service in load(COMPOSE)["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_images_have_a_version() -> None:
    """No image is `latest`, and ours carries the version of the project."""
    images = {service["image"] for service in load(COMPOSE)["services"].values() if "image" in service}
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"factory-ear:{version[1]}" in images
    assert all(re.search(r":v?\d+\.\d+", image) for image in images)


def test_prometheus_in_containers_has_the_same_rules() -> None:
    """The containers' prometheus.yml differs from the bare one in addresses alone, and its rules are mounted."""
    bare, ours = load(DEPLOY / "prometheus" / "prometheus.yml"), load(DEPLOY / "line" / "prometheus.yml")
    assert ours["rule_files"] == bare["rule_files"]
    assert ours["global"] == bare["global"]
    assert [job["job_name"] for job in ours["scrape_configs"]] == [job["job_name"] for job in bare["scrape_configs"]]
    mounted = {volume.split(":")[1] for volume in load(COMPOSE)["services"]["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{rule}" for rule in ours["rule_files"]} <= mounted


def test_the_reading_token_is_the_same_everywhere() -> None:
    """Prometheus presents the token that line.toml asks of readers."""
    token = re.search(r'^token = "(.+?)"', (DEPLOY / "line" / "line.toml").read_text(), re.MULTILINE)
    assert token
    assert load(DEPLOY / "line" / "prometheus.yml")["scrape_configs"][0]["authorization"]["credentials"] == token[1]


@pytest.mark.parametrize("name", ["line/line.toml", "hybrid/edge.toml", "hybrid/central.toml"])
def test_settings_load(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line.toml under deploy/ is valid, with secrets where it says that they are."""
    for variable in ("EAR_OPERATE", "EAR_ADMIN"):
        monkeypatch.setenv(variable, f"{variable}-0123456789-0123456789")
    for secret in ("kafka-password", "ca.pem"):
        (tmp_path / secret).write_text("x" * 24)
    text = (DEPLOY / name).read_text(encoding="utf-8").replace("/etc/factory-ear/", f"{tmp_path}/")
    (tmp_path / "line.toml").write_text(text, encoding="utf-8")
    line = load_line(tmp_path / "line.toml")
    assert line.broker.url.startswith("kafka://")
    assert line.machine


def test_edge_and_centre_know_the_same_machines(tmp_path: Path) -> None:
    """The two files of the hybrid set-up name the same machines and microphones."""
    import tomllib

    both = [
        tomllib.loads((DEPLOY / "hybrid" / name).read_text(encoding="utf-8")) for name in ("edge.toml", "central.toml")
    ]
    edge, centre = ({m["id"]: [mic["id"] for mic in m["mic"]] for m in one["machine"]} for one in both)
    assert edge == centre
    assert both[0]["broker"]["url"] == both[1]["broker"]["url"]


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_start_our_commands(path: Path) -> None:
    """Each systemd unit starts a command of ours, restarts it, and gives it bounds and no privileges."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's names have capitals
    unit.read(path)
    service = unit["Service"]
    command = service["ExecStart"].split()
    assert command[0] == "/opt/factory-ear/.venv/bin/factory-ear"
    assert command[1] in {"run", "ingest", "worker"}
    assert service["Restart"] == "always"
    assert service["NoNewPrivileges"] == "yes"
    assert {"MemoryMax", "TasksMax"} <= set(service)
    documented = unit["Unit"]["Documentation"].removeprefix("file:/opt/factory-ear/")
    assert (ROOT / documented).exists()


def test_systemd_accepts_the_units() -> None:
    """systemd's own checker finds nothing to say about the units but that they are not installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    units = [str(path) for path in sorted((DEPLOY / "systemd").glob("*.service"))]
    result = subprocess.run([program, "verify", *units], capture_output=True, text=True, timeout=60, check=False)
    known = ("is not executable", "Failed to", "man:", "not found")
    said = [line for line in result.stderr.splitlines() if "factory-ear" in line and not any(k in line for k in known)]
    assert not said


def test_kubernetes_references_hold() -> None:
    """Claims, selectors and scale targets of the manifests name things that are there."""
    claims = set(named("PersistentVolumeClaim"))
    workloads = {**named("Deployment"), **named("StatefulSet")}
    for name, one in workloads.items():
        pod = one["spec"]["template"]
        assert one["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for volume in pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        for container in pod["spec"]["containers"]:
            assert container["args"][0] in PARTS, name
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    (scaled,) = named("ScaledObject").values()
    assert scaled["spec"]["scaleTargetRef"]["name"] in workloads
    (service,) = named("Service").values()
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in workloads.values()]
    assert service["spec"]["selector"] in labels


def test_workers_do_not_outnumber_partitions() -> None:
    """Autoscaling stops at the number of partitions that a line makes by default."""
    from monitor.settings import BrokerSettings

    (scaled,) = named("ScaledObject").values()
    partitions = BrokerSettings.model_fields["partitions"].default
    assert scaled["spec"]["maxReplicaCount"] <= partitions


def test_the_image_holds_what_runs() -> None:
    """The Containerfile copies each package, installs from the lock with hashes, and does not run as root."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for package in ("monitor", "sds_engine", "detectors", "streams"):
        assert f"COPY {package} {package}" in text
    assert "--require-hashes" in text
    assert re.search(r"^USER ear$", text, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["factory-ear"\]$', text, re.MULTILINE)
    for source in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())
