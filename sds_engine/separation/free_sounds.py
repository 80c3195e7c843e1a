"""Recordings under free licences for training: sounds out of Debian's packages of games, cut and listed.

    python -m sds_engine.separation.free_sounds UNPACKED OUT

UNPACKED has a folder for each package of `LICENCES` (`apt-get download NAME`, then `dpkg -x NAME_*.deb UNPACKED/NAME`,
and zip archives in it unpacked in place; packages may be missing). Engines, workshops, halls, weather, animals: sounds
of which `sds_engine.physics` knows nothing. OUT gets FLAC files at 16 kHz, CLASS__hash_cut.flac, and
`manifest.csv` (file, licence, prompt), which the trainings' `--background OUT` read. Prompts are left empty: a game's
file names say little of what is heard.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sds_engine.separation.grid import RATE
from sds_engine.separation.pool import SECONDS

LICENCES = {
    "0ad-data": "CC-BY-SA-3.0",
    "bzflag-data": "LGPL-2.1 or MPL-2.0",
    "endless-sky-data": "public domain or CC-BY-SA (copyright file of the package)",
    "extremetuxracer-data": "GPL-2",
    "flare-game": "CC-BY-SA-3.0",
    "flightgear-data-base": "GPL-2+",
    "freedroidrpg-data": "GPL-2+",
    "lincity-ng-data": "GPL-2+",
    "megaglest-data": "CC-BY-SA-3.0",
    "minetest-data": "CC-BY-SA-3.0",
    "naev-data": "CC-BY-SA-3.0 or CC0 (copyright file of the package)",
    "sonic-pi-samples": "CC0-1.0",
    "torcs-data": "GPL-2+ or Free Art Licence",
    "trigger-rally-data": "GPL-2",
    "ufoai-sound": "GPL-2+ or CC-BY-SA-3.0",
    "unknown-horizons": "GPL-2+ or CC-BY-SA-3.0",
    "warzone2100-data": "GPL-2+ or CC0",
    "wesnoth-1.16-data": "GPL-2+",
    "widelands-data": "GPL-2+",
}
KINDS = (".ogg", ".oga", ".wav", ".flac", ".mp3")
LEAST_S, CUTS = 2.0, 3
_STEP = RATE // 10  # samples by which silence is told
_QUIET_DB = 50.0  # below its loudest tenth of a second, a recording's ends are silence
_NO_MACHINE = re.compile(  # music, and people who speak to the player
    r"music|voice|title|codriver|tutorial|countdown|memressp|taunt|nexus|proxmess|multi/|coltive|trnsppil|vtoltalk|civ/"
    r"|death|soldiers|civilians|comments|mk-viii|tcas|sequenceaudio|scenario|interface/alarm|spearman|archer|horseman"
    r"|swordman|battleaxe|princess|fakir|/extra/|horn-signals|buffers|loop_|drum|bass_|guit_|piano|perc_|elec_|glitch"
    r"|tabla|hat_|bd_|sn_",
    re.IGNORECASE,
)


def gather(unpacked: Path, out: Path) -> int:
    """Write what is usable below `unpacked`, each sound once; returns how many files.

    Raises FileNotFoundError where none of the packages is there.
    """
    folders = [unpacked / name for name in LICENCES if (unpacked / name).is_dir()]
    if not folders:
        raise FileNotFoundError(f"{unpacked}: none of the packages is unpacked here: {', '.join(LICENCES)}")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            rows += [(name, LICENCES[folder.name], "") for name in _write(path, folder, out, seen)]
    with (out / "manifest.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("file", "licence", "prompt"), *rows])
    return len(rows)


def _write(path: Path, package: Path, out: Path, seen: set[str]) -> Iterator[str]:
    """The files that one recording becomes; none if it is music, speech, short, silent or `seen`."""
    import soundfile

    inside = path.relative_to(package.parent)
    if path.suffix.lower() not in KINDS or _NO_MACHINE.search(inside.as_posix()):
        return
    try:
        sound = without_silence(_read(path))
    except soundfile.LibsndfileError:
        return  # no sound, though it is named like one
    digest = hashlib.sha256(np.round(sound * 1000.0).astype(np.int16).tobytes()).hexdigest()
    if len(sound) < LEAST_S * RATE or digest in seen:
        return
    seen.add(digest)
    words = "_".join([package.name.split("-")[0], *inside.with_suffix("").parts[-2:]]).lower()
    for number, cut in enumerate(cuts(sound)):
        name = f"{re.sub(r'[^a-z0-9]+', '_', words)}__{digest[:6]}_{number}.flac"
        soundfile.write(out / name, np.clip(cut, -1.0, 1.0), RATE)
        yield name


def without_silence(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """A recording [time] without the silence at its ends; empty where nothing is heard."""
    level = np.sqrt(np.square(sound[: len(sound) // _STEP * _STEP].reshape(-1, _STEP)).mean(1))
    if not len(level) or level.max() < 1e-3:
        return sound[:0]
    heard = np.flatnonzero(level > level.max() * 10.0 ** (-_QUIET_DB / 20.0))
    return sound[heard[0] * _STEP : (heard[-1] + 1) * _STEP]


def cuts(sound: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """The first pieces of a recording [time] that are long enough, each at most as long as a training clip."""
    length = round(SECONDS * RATE)
    pieces = [sound[begin : begin + length] for begin in range(0, len(sound), length)]
    return [piece for piece in pieces[:CUTS] if len(piece) >= LEAST_S * RATE]


def _read(path: Path) -> NDArray[np.float32]:
    import soundfile
    import torch
    from torchaudio.functional import resample

    with soundfile.SoundFile(path) as file:
        samples = file.read(round((CUTS * SECONDS + 9.0) * file.samplerate), dtype="float32", always_2d=True)
        rate = file.samplerate
    mono = samples.mean(axis=1)
    return mono if rate == RATE else np.asarray(resample(torch.from_numpy(mono), rate, RATE), dtype=np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m sds_engine.separation.free_sounds UNPACKED OUT")
    sys.stderr.write(f"{gather(Path(sys.argv[1]), Path(sys.argv[2]))} files\n")
