"""`factory-ear provenance`: was this sound generated, by what, from what.

Two witnesses, each told for itself: the mark in the sound, and the sidecar beside the file. A sidecar can be lost or
put beside another sound; a mark survives copies, MP3 and background, but names only 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitor.console import progress, say, warn
from monitor.words import Lang
from sds_engine.provenance.chips import RATE
from sds_engine.provenance.detect import Found, find_mark
from sds_engine.provenance.sidecar import ProvenanceError, Sidecar, read_sidecar, sidecar_of, verify_sidecar
from streams import soundfiles

Verdict = Literal["generated", "claimed", "unknown", "unreadable"]
_PIECE_S, _OVERLAP_S = 60.0, 4.0
_MOST_CHANNELS = 8  # the first ones: a mark is in all of them or in one that was mixed


def trace_files(files: Sequence[Path], *, lang: Lang = "en", quiet: bool = False) -> list[dict[str, Any]]:
    """A row per file, and unless `quiet` its text: verdict, mark, sidecar, and why a file could not be read.

    generated: the mark is there. claimed: only the sidecar says so, of these very bytes. unknown: neither, which is no
    proof that a sound is real. unreadable: no sound could be read; `error` says why.
    """
    rows = []
    with progress("provenance", quiet=quiet) as step:
        for path in step(files):
            row = trace(path)
            rows.append(row)
            if row["verdict"] == "unreadable":
                warn(row["error"])
            else:
                say(in_words(row, lang), quiet=quiet)
    return rows


def trace(path: Path) -> dict[str, Any]:
    """What is known of one file."""
    row: dict[str, Any] = {"file": str(path), "verdict": "unreadable", "mark": None, "sidecar": None, "error": ""}
    try:
        found = _search(path)
    except soundfiles.SoundFileError as error:
        return row | {"error": str(error)}
    row["mark"] = {
        "found": found.marked,
        "payload": found.payload,
        "z": round(found.z, 2),
        "log10_false_positive": round(found.log10_p, 2),
        "start_s": round(found.start_s, 3),
        "end_s": round(found.end_s, 3),
    }
    sidecar: Sidecar | None = None
    if sidecar_of(path).exists():
        try:
            sidecar = read_sidecar(sidecar_of(path))
            row["sidecar"] = sidecar.as_dict() | _agreement(sidecar, path, found)
        except ProvenanceError as error:
            row["error"] = str(error)
    claimed = sidecar is not None and row["sidecar"]["audio_is"] == "intact"
    row["verdict"] = "generated" if found.marked else "claimed" if claimed else "unknown"
    return row


def _agreement(sidecar: Sidecar, path: Path, found: Found) -> dict[str, Any]:
    """Whether the bytes are the sidecar's, and whether the mark is the one that it names (None: no mark to compare)."""
    agrees = found.payload == sidecar.payload if found.marked else None
    return {"audio_is": verify_sidecar(sidecar, path), "mark_agrees": agrees}


def _search(path: Path) -> Found:
    """The strongest trace in the file: its first channels, in pieces of a minute. Raises SoundFileError."""
    info = soundfiles.inspect(path)
    channels = min(info.channels, _MOST_CHANNELS)
    pieces = max(1, int(info.duration_s / (_PIECE_S - _OVERLAP_S)) + 1)
    best = Found(marked=False, payload=None, z=0.0, log10_p=0.0, start_s=0.0, end_s=info.duration_s)
    rate = min(RATE, info.rate)
    for channel in range(channels):
        for start_s, piece in _pieces(path, rate, channel):
            found = find_mark(piece, rate, tries=channels * pieces)
            if found.z > best.z:
                moved = (found.start_s + start_s, found.end_s + start_s)
                best = Found(found.marked, found.payload, found.z, found.log10_p, *moved)
    return best


def _pieces(path: Path, rate: int, channel: int) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Where each piece begins in s, and its samples; pieces overlap so that a short sound lies whole in one."""
    size, step = int(_PIECE_S * rate), int((_PIECE_S - _OVERLAP_S) * rate)
    kept: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
    start, fresh = 0, 0
    for block in soundfiles.read_blocks(path, rate, channel, block_s=10.0):
        kept, fresh = np.concatenate([kept, block]), fresh + len(block)
        if len(kept) >= size:
            yield start / rate, kept
            kept, start, fresh = kept[step:], start + step, 0
    if fresh:
        yield start / rate, kept


def in_words(row: dict[str, Any], lang: Lang) -> str:
    """What a row says, in one paragraph."""
    said = _JA if lang == "ja" else _EN
    mark, sidecar = row["mark"], row["sidecar"]
    parts = [said[row["verdict"]]]
    if mark["found"]:
        exponent = int(mark["log10_false_positive"])
        parts.append(said["mark"].format(payload=f"{mark['payload']:04x}", z=mark["z"], exponent=exponent))
    if sidecar is not None:
        parts.append(
            said["made"].format(**sidecar | {"date": sidecar["date"][:19], "prompt": sidecar["prompt"] or "–"})
        )
        parts.append(said[sidecar["audio_is"]])
        if sidecar["mark_agrees"] is False:
            parts.append(said["other"])
    elif row["error"]:
        parts.append(row["error"])
    return f"{row['file']}: " + said["gap"].join(parts)


_EN = {
    "gap": " ",
    "generated": "generated.",
    "claimed": "generated, says its sidecar; no mark was found in the sound.",
    "unknown": "no mark was found: not known to be generated (which does not prove that it is real).",
    "mark": "The mark is there: id {payload}, z = {z:.1f}, chance of a false finding at most 1e{exponent}.",
    "made": 'The sidecar says: made by "{maker}" for "{prompt}", seed {seed}, version {version}, {date} UTC.',
    "intact": "The file is the one that was written.",
    "changed": "The file was changed or converted since.",
    "no_file": "The file is gone.",
    "other": "But the mark is not the one that the sidecar names: the sidecar belongs to another sound.",
}
_JA = {
    "gap": "",
    "generated": "生成された音です。",
    "claimed": "付属の記録では生成された音です。音の中に透かしは見つかりません。",
    "unknown": "透かしは見つかりません。生成された音とは分かりません（実録の証明ではありません）。",
    "mark": "透かしを検出：ID {payload}、z = {z:.1f}、誤検出の確率は 1e{exponent} 以下。",
    "made": "記録：作成「{maker}」、指示「{prompt}」、シード {seed}、版 {version}、{date} UTC。",
    "intact": "ファイルは書き出し時のままです。",
    "changed": "ファイルはその後、変更または変換されています。",
    "no_file": "ファイルがありません。",
    "other": "ただし透かしは記録のものと異なります。記録は別の音のものです。",
}
