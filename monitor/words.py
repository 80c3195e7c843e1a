"""What the line says to people, in Japanese and English: alarm reasons, words of the page, times of the site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from monitor.langs import LANGS as LANGS  # noqa: PLC0414 - handed on: everybody finds it here
from monitor.langs import Lang as Lang  # noqa: PLC0414 - handed on
from monitor.naming_share import Guess
from monitor.naming_words import in_words

Follows = Literal["", "neighbour", "hall", "flood"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reason is made of, kept beside the alert so that it can be said in either language.

    `band_hz` and `band_db` are 0 where nothing is known of the place in the spectrum; `odd` of `looks` is how many
    of the last looks (`recordings`: separate recordings) were odd; `closed_ns` is 0 while the alarm is open.
    `follows` says that the alarm only follows from another, of `others`, and `parted` that it now goes on by itself;
    without it `others` only hear it, or raised an alarm of the whole hall, whose `alerts` are theirs. `named` is what
    the sound resembles, with shares of 1, likeliest first; empty while nobody knows.
    """

    kind: Literal["odd", "lost", "silent", "hall", "flood"]
    since_ns: int
    mics: tuple[str, ...]
    mic: str = ""
    band_hz: tuple[float, float] = (0.0, 0.0)
    band_db: float = 0.0
    odd: int = 0
    looks: int = 0
    recordings: bool = False
    danger: bool = False
    closed_ns: int = 0
    others: tuple[str, ...] = ()
    follows: Follows = ""
    parted: bool = False
    alerts: tuple[str, ...] = ()
    named: tuple[tuple[str, float], ...] = ()

    def plain(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Facts:
        """The facts from their JSON values."""
        tuples = {name: tuple(plain[name]) for name in ("mics", "band_hz", "others", "alerts") if name in plain}
        named = tuple((str(kind), float(share)) for kind, share in plain.get("named", ()))
        return cls(**{**plain, **tuples, "named": named})


def local(ns: int, zone: str) -> datetime:
    """The site's time of a UTC time in nanoseconds."""
    return datetime.fromtimestamp(ns / 1e9, UTC).astimezone(ZoneInfo(zone))


def clock(ns: int, zone: str, now_ns: int = 0) -> str:
    """HH:MM in the site's zone, with the date in front where that is not the day of `now_ns`."""
    if not ns:
        return "–"
    then = local(ns, zone)
    if now_ns and then.date() == local(now_ns, zone).date():
        return then.strftime("%H:%M:%S")
    return then.strftime("%Y-%m-%d %H:%M" if now_ns else "%H:%M")


def ago(seconds: float, lang: Lang) -> str:
    """A length of time in words, rounded down to its largest unit."""
    units = (("日", "d", 86_400), ("時間", "h", 3_600), ("分", "min", 60), ("秒", "s", 1))
    whole = max(0, int(seconds))
    ja, en, size = next((unit for unit in units if whole >= unit[2]), units[-1])
    return f"{whole // size}{ja}" if lang == "ja" else f"{whole // size} {en}"


def band(band_hz: Sequence[float], band_db: float, lang: Lang) -> str:
    """Where in the spectrum, such as `2.1-2.6 kHz (+9 dB)`; empty where it is not known."""
    low, high = band_hz
    if not (math.isfinite(low) and math.isfinite(high) and high > 0):
        return ""
    join = "〜" if lang == "ja" else "-"
    text = f"{low / 1000:.1f}{join}{high / 1000:.1f} kHz" if high >= 1000 else f"{low:.0f}{join}{high:.0f} Hz"
    return f"{text} ({band_db:+.0f} dB)"


def reason(facts: Facts, name: str, lang: Lang, zone: str, names: Mapping[str, str] | None = None) -> str:
    """Why there is an alarm, as staff read it: `name` is the machine's, `names` those of others; HH:MM in `zone`."""
    text = _REASONS[facts.kind, lang](facts, name, zone)
    text += _related(facts, [(names or {}).get(other, other) for other in facts.others], lang)
    if facts.closed_ns:
        at = clock(facts.closed_ns, zone)
        ja, en = ("から単独の警報として継続", "goes on as an alarm of its own from") if facts.parted else ("に復帰", "")
        text += f"。{at} {ja}" if lang == "ja" else f"; {en or 'back to normal at'} {at}"
    return text + resembling(facts.named, lang)


def resembling(named: Sequence[tuple[str, float]], lang: Lang) -> str:
    """What the sound resembles, to stand at a reason's end; empty where nobody knows."""
    if not named:
        return ""
    told = in_words([Guess(kind, share) for kind, share in named], lang)
    return f"。似ている故障：{told}" if lang == "ja" else f"; resembles: {told}"


def _related(facts: Facts, others: Sequence[str], lang: Lang) -> str:
    """What the alarm has to do with those of others."""
    named = (", " if lang == "en" else "、").join(others)
    if facts.kind in ("hall", "flood"):
        return f"：{named}" if lang == "ja" else f": {named}"
    if facts.follows in ("hall", "flood"):
        return "。構内全体の警報の一部" if lang == "ja" else "; part of the alarm of the whole hall"
    if not named:
        return ""
    if facts.follows:
        return f"。{named} の音の影響とみられる" if lang == "ja" else f"; probably the sound of {named}"
    return f"。{named} でも聞こえる" if lang == "ja" else f"; {named} can hear it too"


def _counted_en(facts: Facts) -> str:
    return f"{facts.odd} of the last {facts.looks} {'recordings' if facts.recordings else 'looks'}"


def _counted_ja(facts: Facts) -> str:
    if facts.recordings:
        return f"直近 {facts.looks} 件の録音のうち {facts.odd} 件が異常"
    return f"直近 {facts.looks} 回の判定のうち {facts.odd} 回が異常"


def _odd_en(facts: Facts, name: str, zone: str) -> str:
    where = band(facts.band_hz, facts.band_db, "en")
    parts = [
        f"{name}: odd since {clock(facts.since_ns, zone)}",
        f"strongest {'around ' + where + ' ' if where else ''}on mic {facts.mic}",
        "" if facts.closed_ns else _counted_en(facts),
    ]
    return ", ".join(filter(None, parts)) + ("; it persists: danger" if facts.danger and not facts.closed_ns else "")


def _odd_ja(facts: Facts, name: str, zone: str) -> str:
    where = band(facts.band_hz, facts.band_db, "ja")
    parts = [
        f"{name}：{clock(facts.since_ns, zone)} から異音",
        f"マイク {facts.mic}{' の ' + where + ' 付近' if where else ' '}で最大",
        "" if facts.closed_ns else _counted_ja(facts),
    ]
    return "、".join(filter(None, parts)) + ("。継続中のため危険" if facts.danger and not facts.closed_ns else "")


def _lost_en(facts: Facts, name: str, zone: str) -> str:
    return f"{name}: no signal from mic {', '.join(facts.mics)} since {clock(facts.since_ns, zone)}"


def _lost_ja(facts: Facts, name: str, zone: str) -> str:
    return f"{name}：{clock(facts.since_ns, zone)} からマイク {'、'.join(facts.mics)} の信号なし"


def _silent_en(facts: Facts, name: str, zone: str) -> str:
    return f"{name}: mic {', '.join(facts.mics)} is silent since {clock(facts.since_ns, zone)}"


def _silent_ja(facts: Facts, name: str, zone: str) -> str:
    return f"{name}：{clock(facts.since_ns, zone)} からマイク {'、'.join(facts.mics)} が無音"


def _hall_en(facts: Facts, name: str, zone: str) -> str:
    return f"{name}: many machines odd since {clock(facts.since_ns, zone)}, probably one sound"


def _hall_ja(facts: Facts, name: str, zone: str) -> str:
    return f"{name}：{clock(facts.since_ns, zone)} から多数の設備で同時に異音（共通の音とみられる）"


def _flood_en(facts: Facts, name: str, zone: str) -> str:
    return f"{name}: more alarms than one can follow since {clock(facts.since_ns, zone)}, gathered here"


def _flood_ja(facts: Facts, name: str, zone: str) -> str:
    return f"{name}：{clock(facts.since_ns, zone)} から警報が多発、ここに集約"


_REASONS = {
    ("hall", "en"): _hall_en,
    ("hall", "ja"): _hall_ja,
    ("flood", "en"): _flood_en,
    ("flood", "ja"): _flood_ja,
    ("odd", "en"): _odd_en,
    ("odd", "ja"): _odd_ja,
    ("lost", "en"): _lost_en,
    ("lost", "ja"): _lost_ja,
    ("silent", "en"): _silent_en,
    ("silent", "ja"): _silent_ja,
}

# key: (ja, en). The keys of states are those of `web.STATES`.
TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("設備の音 監視", "Machine sound monitor"),
    "machines": ("設備", "Machines"),
    "microphones": ("マイク", "Microphones"),
    "open_alarms": ("発生中の警報", "Open alarms"),
    "recent_alarms": ("最近の警報", "Recent alarms"),
    "none_open": ("発生中の警報はありません。", "No alarm is open."),
    "none_recent": ("過去の警報はありません。", "No earlier alarms."),
    "score": ("スコア / しきい値", "Score / threshold"),
    "peak": ("最大スコア", "Peak score"),
    "opened": ("発生", "Opened"),
    "closed": ("復帰", "Closed"),
    "still_open": ("継続中", "still open"),
    "sound": ("音声", "Sound"),
    "clip_pending": ("音声を準備中", "clip is being written"),
    "ago": ("前", "ago"),
    "never": ("未受信", "never"),
    "updated": ("更新", "Updated"),
    "lag": ("未処理の音", "Windows waiting"),
    "dead": ("処理不能", "Dead letters"),
    "intake_stopped": (
        "空き容量が不足し、録音の受け付けを停止しています。ディスクの空きを増やしてください。",
        "The disk is nearly full: intake has stopped. Free some space.",
    ),
    "store_full": (
        "警報を保存できません。ディスクの空きを増やしてください。",
        "Alarms cannot be stored. Free some disk space.",
    ),
    "no_model": (
        "学習済みモデルがない設備: {machines}。factory-ear train を実行してください。",
        "No trained model for {machines}: run factory-ear train.",
    ),
    "state_no_model": ("モデルなし", "no model"),
    "unsupported": (
        "健全な録音が少なく、誤報の目標を保証できません (予想 {expected:.1f} 回/週)",
        "too few healthy recordings to hold the false-alarm budget ({expected:.1f} a week expected)",
    ),
    "broker_down": (
        "ブローカーに接続できません。再試行しています。({error})",
        "The broker does not answer; trying again. ({error})",
    ),
    "cut_off": (
        "監視プログラムに接続できません。表示は古い可能性があります。",
        "The monitor does not answer: what you see may be old.",
    ),
    "since_time": ("{time} から", "since {time}"),
    "starting": ("起動中です。", "The monitor is starting."),
    "stalled": ("監視処理が停止しています。", "The monitor has stalled."),
    "state_ok": ("正常", "normal"),
    "state_alert": ("警報", "alert"),
    "state_danger": ("危険", "danger"),
    "state_unknown": ("信号なし", "no signal"),
    "state_waiting": ("待機中", "waiting"),
    "signal_live": ("受信中", "live"),
    "signal_lost": ("信号なし", "no signal"),
    "signal_silent": ("無音", "silent"),
    "signal_waiting": ("待機中", "waiting"),
    "flag_gap": ("欠落", "gap"),
    "flag_clipped": ("音割れ", "clipped"),
    "flag_silent": ("無音", "silent"),
    "flag_late": ("遅延", "late"),
    "clipped_total": ("音割れ {count} 回", "{count} clipped"),
    "gaps_total": ("欠落 {seconds:.1f} 秒", "{seconds:.1f} s missing"),
    "error": ("エラー", "Error"),
    "not_found": ("このページはありません。", "There is no such page."),
    "clip_gone": (
        "この音声はありません。保存期間を過ぎた可能性があります。",
        "There is no such clip. It may have expired.",
    ),
    "broken": (
        "ページを表示できません。少し待ってから再読み込みしてください。",
        "The page cannot be shown. Wait a moment and load it again.",
    ),
    "refused": ("認証が必要です。", "A token is needed."),
    "back": ("状況一覧へ戻る", "Back to the overview"),
    "other_lang": ("English", "日本語"),
}


def text(key: str, lang: Lang, **values: Any) -> str:  # noqa: ANN401 - numbers and names alike fill a text
    """The text of `key` in `lang`, filled with `values`. Raises KeyError for a key that does not exist."""
    found = TEXTS[key][LANGS.index(lang)]
    return found.format(**values) if values else found
