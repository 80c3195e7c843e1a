"""Generated sound to a file: marked, with its sidecar beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sds_engine.provenance.sidecar import Provenance, Sidecar, file_sha256, write_sidecar
from sds_engine.provenance.watermark import embed

FORMATS = {".flac": "FLAC", ".wav": "WAV"}


def write_generated(path: Path, wave: NDArray[np.floating], rate: int, provenance: Provenance) -> Sidecar:
    """Mark sound [time] of full scale 1.0, write it with 24 bits, and write the sidecar. Returns what that says.

    `version` and `date` are filled in where they are empty. Sound that can carry no mark (silence, under 0.25 s, rates
    under 16 kHz) is written as it is, and its sidecar says `watermark: null`. Raises ValueError for another suffix
    than .flac or .wav, for sound over full scale, NaN or another shape, and for parameters that are no JSON.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} ends in {path.suffix!r}, allowed is one of {', '.join(FORMATS)}")
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all() or float(np.abs(wave).max()) > 1.0:
        raise ValueError(f"sound is {wave.shape}, allowed is [time], one sample or more, finite, within -1..1")
    provenance = provenance.complete()
    try:
        payload = provenance.payload  # before anything is written
    except TypeError as error:
        raise ValueError(f"parameters must be JSON values: {error}") from error
    marked, z = embed(wave, rate, payload)
    part = path.with_name(path.name + ".part")
    soundfile.write(str(part), marked, rate, subtype="PCM_24", format=FORMATS[path.suffix])
    part.replace(path)
    carried = payload if z > 0.0 else None
    sidecar = Sidecar(provenance, path.name, file_sha256(path), rate, len(wave), carried, round(z, 2))
    write_sidecar(sidecar, path)
    return sidecar
