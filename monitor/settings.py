"""The settings of a line: `line.toml`, read once, checked, and passed down. Unknown keys are errors.

Nothing below `monitor/` reads files of settings or the environment.
"""

from __future__ import annotations

import tomllib
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator

from monitor.errors import SettingsError
from monitor.settings_web import History, Part, Web
from streams.security import Security

__all__ = ["Alarms", "Line", "Machine", "Mic", "SettingsError", "Web", "load_line"]

SOURCES = ("file:", "folder:", "mic:", "ffmpeg:")
FOLDER_PATIENCE_S = 900.0
HALL = "hall"  # the machine id of alarms of a whole hall; "hall:AREA" where the line has several areas


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, IsADirectoryError) as error:
        raise ValueError("use a name of the IANA time zone data base, such as Asia/Tokyo") from error
    return name


def _source(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if scheme + colon not in SOURCES or not rest:
        raise ValueError(f"start it with one of {', '.join(SOURCES)} and say what to read, such as file:press.wav")
    return text


def _broker_url(text: str) -> str:
    if not (text.startswith("embedded:") and text != "embedded:") and not text.startswith("kafka://"):
        raise ValueError("use embedded:DIR or kafka://host:port")
    return text


class Site(Part):
    """Where the line is. `rate` is the sampling rate of everything on the wire, in Hz."""

    name: str = "factory"
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    lang: Literal["ja", "en"] = "en"
    data: Path = Path("data")
    rate: int = Field(16_000, ge=8_000, le=96_000)
    window_s: float = Field(2.0, ge=0.5, le=10.0)


class BrokerSecurity(Part):
    """How Kafka wants to be spoken to: `ca`, `cert`, `key` are PEM files, `password_file` holds the password alone."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    check_hostname: bool = True
    mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None

    def contract(self) -> Security:
        """What the broker is given. Raises SettingsError for what does not go together or cannot be read."""
        password = self.password.get_secret_value()
        try:
            if self.password_file is not None:
                password = self.password_file.read_text(encoding="utf-8").strip()
            return Security(
                self.protocol,
                self.ca,
                self.cert,
                self.key,
                self.check_hostname,
                self.mechanism,
                self.username,
                password,
            )
        except (OSError, ValueError) as error:
            raise SettingsError(f"broker.security: {error}") from error


class BrokerSettings(Part):
    """Which broker carries the windows, and how long they are kept."""

    url: Annotated[str, AfterValidator(_broker_url)] = "embedded:data/broker"
    partitions: int = Field(8, ge=1, le=256)
    windows_retention_s: float = Field(86_400.0, ge=60.0)
    results_retention_s: float = Field(90 * 86_400.0, ge=60.0)
    min_free_mb: int = Field(500, ge=0)
    security: BrokerSecurity = BrokerSecurity()


class Chain(Part):
    """The stages that a window runs through, and the device they run on.

    `threads` is per worker: one thread each and more workers beats threads that wait for each other on busy cores.
    With the stage `separated` a separator is adapted to the site when a machine is trained, for `adapt_minutes` at
    most, and a window's score is the worst of raw, separated and residual sound; with `enhanced` besides, Ex-Diff goes
    on from the separator's answer, adapted for half of those minutes. `cascade` spares most windows that:
    only those with a raw score from `cascade_above` on, and `cascade_share` of all others, in turn, are separated. A
    worker that is `overload_s` behind live sound separates nothing until it has caught up, and counts that.
    """

    stages: tuple[Literal["raw", "separated", "enhanced"], ...] = ("raw",)
    device: str = "cpu"
    threads: int = Field(1, ge=1, le=256)
    max_batch: int = Field(64, ge=1, le=4096)
    max_wait_s: float = Field(0.2, ge=0.0, le=10.0)
    adapt_minutes: float = Field(8.0, ge=0.0, le=600.0)
    cascade: bool = True
    cascade_above: float = Field(1.0, ge=0.0, le=10.0)
    cascade_share: float = Field(0.05, ge=0.0, le=1.0)
    overload_s: float = Field(30.0, ge=1.0)

    @model_validator(mode="after")
    def _raw_first(self) -> Chain:
        if self.stages != ("raw", "separated", "enhanced")[: len(self.stages)] or not self.stages:
            raise ValueError(
                f"stages are {list(self.stages)}, each builds on the one before: use "
                '["raw"], ["raw", "separated"] or ["raw", "separated", "enhanced"]'
            )
        return self


class AlarmRules(Part):
    """What of `[alarms]` decides which alarms open; `Alarms` says how. A side of a comparison has these alone."""

    false_alarms_per_week: float = Field(1.0, gt=0.0, le=10_000.0)
    looks: int = Field(6, ge=1, le=60)
    judge_recordings: bool = True
    on_delay_s: float = Field(0.0, ge=0.0)
    off_delay_s: float = Field(60.0, ge=0.0)
    hysteresis: float = Field(0.3, ge=0.0)


class Alarms(AlarmRules):
    """When a run of odd windows becomes an alarm. Times are event time, in seconds.

    A *look* is one scored window per detector context: looks of a microphone do not overlap. An alarm opens when
    k of the last `looks` are at or above the threshold for `on_delay_s`; k and the threshold follow from
    `false_alarms_per_week` and from how many healthy recordings there are (`alarms.plan`). It closes when
    that has not been so, with the threshold lowered by `hysteresis`, for `off_delay_s`. It becomes danger
    after `danger_after_s`. A microphone without signal for `unknown_after_s` is unknown. `judge_recordings`: where
    healthy recordings are few, runs of separate recordings are judged too (`alarm_plan.recording_rules`).
    `off_delay_s` and `on_delay_s` are ISA-18.2's delays, `hysteresis` is its deadband. Before people are called an
    alarm settles for `settle_s` (0: they are called at once, and nobody asks whether a neighbour is louder);
    `hall_share` of the machines that begin together make one alarm of the whole hall, and `flood_alarms` within ten
    minutes are a flood (`hall_alarms`).
    """

    danger_after_s: float = Field(600.0, ge=0.0)
    unknown_after_s: float = Field(30.0, gt=0.0)
    lateness_s: float = Field(60.0, ge=0.0)
    settle_s: float = Field(30.0, ge=0.0, le=600.0)
    hall_share: float = Field(0.75, gt=0.0, le=1.0)
    flood_alarms: int = Field(10, ge=2, le=10_000)
    webhook: str = ""


class Evidence(Part):
    """How long clips of alarms are kept, and how much room they and what is made of them may take; oldest go first."""

    keep_days: float = Field(90.0, gt=0.0)
    keep_mb: int = Field(2_000, ge=1)


class Mic(Part):
    """One microphone: `source` is file:PATH, folder:PATH, mic:DEVICE or ffmpeg:URL.

    `channel` picks one channel of a source that has several. `speed` is how many times faster than real time a
    file: source is replayed (0: as fast as the line takes it); it does not apply to live sources. `unknown_after_s`
    overrides the line's; without it a folder:, which is filled file by file, may be quiet for a quarter of an hour.
    Where `people` can be heard no sound is kept (`evidence`) until someone writes `evidence = true` there.
    """

    id: str = Field(min_length=1, max_length=120)
    source: Annotated[str, AfterValidator(_source)]
    people: bool = False
    evidence: bool = True
    channel: int = Field(0, ge=0, le=63)
    speed: float = Field(1.0, ge=0.0)
    unknown_after_s: float | None = Field(None, gt=0.0)

    @model_validator(mode="before")
    @classmethod
    def _people_are_asked_first(cls, raw: Any) -> Any:  # noqa: ANN401 - whatever stood in the file
        if isinstance(raw, dict) and raw.get("people") and "evidence" not in raw:
            return {**raw, "evidence": False}
        return raw

    def patience_s(self, alarms: Alarms) -> float:
        """How long it may be quiet before it is unknown: its own setting, a folder's quarter of an hour, the line's."""
        if self.unknown_after_s is not None:
            return self.unknown_after_s
        return (
            max(FOLDER_PATIENCE_S, alarms.unknown_after_s)
            if self.source.startswith("folder:")
            else alarms.unknown_after_s
        )

    @property
    def finite(self) -> bool:
        """Whether the source ends by itself: its silence afterwards is no fault."""
        return self.source.startswith("file:")


class Bearing(Part):
    """A rolling bearing: number of balls, ball and pitch diameter (same unit), contact angle in degrees."""

    n: int = Field(ge=3)
    d: float = Field(gt=0)
    D: float = Field(gt=0)
    phi: float = Field(0.0, ge=0.0, lt=90.0)


class Kinematics(Part):
    """What turns in the machine."""

    shaft_hz: float | None = Field(None, gt=0)
    bearing: Bearing | None = None
    teeth: int | None = Field(None, ge=1)


class Machine(Part):
    """One machine. `healthy` holds its healthy recordings: one folder, or one sub-folder per microphone id.

    Machines of one `area` hear each other: give each hall a name where the line has several.
    """

    id: str = Field(min_length=1, max_length=120)
    area: str = Field("", max_length=60)
    name_ja: str = ""
    name_en: str = ""
    prompt: str = ""
    healthy: Path
    clean: Path | None = None
    background: Path | None = None
    kinematics: Kinematics = Kinematics()
    mic: tuple[Mic, ...] = Field(min_length=1)

    def name(self, lang: str) -> str:
        """The machine's name in `ja` or `en`, else its id."""
        return (self.name_ja if lang == "ja" else self.name_en) or self.id


class Line(Part):
    """A whole line, with every path absolute."""

    site: Site = Site()
    broker: BrokerSettings = BrokerSettings()
    chain: Chain = Chain()
    alarms: Alarms = Alarms()
    evidence: Evidence = Evidence()
    history: History = History()
    web: Web = Web()
    machine: tuple[Machine, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Line:
        for what, names in (
            ("machine.id", [machine.id for machine in self.machine]),
            ("machine.mic.id", [mic.id for machine in self.machine for mic in machine.mic]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} is used twice: give each one its own")
        taken = [one.id for one in self.machine if one.id == HALL or one.id.startswith(f"{HALL}:")]
        if taken:
            raise ValueError(f"machine.id {taken[0]} is the name of alarms of the whole hall: choose another")
        return self

    @property
    def models(self) -> Path:
        """The folder of the trained models."""
        return self.site.data / "models"

    @property
    def halls(self) -> dict[str, tuple[str, ...]]:
        """Per hall, under the machine id of its own alarms, the machines in it."""
        areas = {machine.area: f"{HALL}:{machine.area}" if machine.area else HALL for machine in self.machine}
        return {name: tuple(one.id for one in self.machine if one.area == area) for area, name in areas.items()}

    def name_of(self, machine: str, lang: str) -> str:
        """The name of a machine or of a hall in `ja` or `en`; the id of one that is not of this line."""
        if machine == HALL or machine.startswith(f"{HALL}:"):
            return f"{'構内' if lang == 'ja' else 'Hall'} {machine.partition(':')[2]}".strip()
        return next((one.name(lang) for one in self.machine if one.id == machine), machine)

    def machine_of(self, mic: str) -> Machine | None:
        """The machine that the microphone listens to."""
        return next((machine for machine in self.machine if any(m.id == mic for m in machine.mic)), None)


def load_line(path: Path) -> Line:
    """Read and check `line.toml`; relative paths count from its folder. Raises SettingsError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file. Make one with: factory-ear init {path.parent}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{path}: {error}. Correct the file, or compare it with one that factory-ear init writes"
        ) from error
    try:
        line = Line.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_in_words(error)}") from error
    line = _absolute(line, path.resolve().parent)
    line.broker.security.contract()  # better an error now than in a worker that starts for ever
    for token in line.web.tokens:
        token.secret()
    return line


def _in_words(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "line"
        secret = key.startswith("web.token") or "password" in key
        if item["type"] == "extra_forbidden":
            value = "" if secret else f" = {item['input']!r}"
            lines.append(f"{key}{value}: no such key; correct its spelling or remove it")
        elif item["type"] == "missing":
            lines.append(f"{key}: missing; add it")
        else:
            value = "" if secret or not item["loc"] else f" = {item['input']!r}"
            lines.append(f"{key}{value}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _absolute(line: Line, base: Path) -> Line:
    def source(text: str) -> str:
        scheme, _, rest = text.partition(":")
        a_path = scheme in ("file", "folder") or (scheme == "ffmpeg" and "://" not in rest)
        return f"{scheme}:{base / rest}" if a_path else text

    files = {name: getattr(line.broker.security, name) for name in ("ca", "cert", "key", "password_file")}
    security = line.broker.security.model_copy(update={name: path and base / path for name, path in files.items()})
    url = line.broker.url
    if url.startswith("embedded:"):
        url = f"embedded:{base / url.removeprefix('embedded:')}"
    machines = tuple(
        machine.model_copy(
            update={
                "healthy": base / machine.healthy,
                "clean": machine.clean and base / machine.clean,
                "background": machine.background and base / machine.background,
                "mic": tuple(mic.model_copy(update={"source": source(mic.source)}) for mic in machine.mic),
            }
        )
        for machine in line.machine
    )
    return line.model_copy(
        update={
            "site": line.site.model_copy(update={"data": base / line.site.data}),
            "broker": line.broker.model_copy(update={"url": url, "security": security}),
            "web": line.web.absolute(base),
            "machine": machines,
        }
    )
