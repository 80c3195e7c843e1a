"""Signal processing: pure functions of tensors `[batch, time]`, on whatever device the tensor is.

- `spectra`: STFT power, mel bands, decibels with a floor, the squared envelope spectrum.
- `levels`: RMS, level in dBFS, SI-SDR.
- `bands`: fractional-octave bands that add up to the sound again.
- `modal`, `modal_hall` and `strikes` (numpy, imported by name): modes of struck parts, also where a hall answers, and
  where the hammer struck.
"""

from sds_engine.dsp.bands import band_edges, split_bands
from sds_engine.dsp.levels import level_dbfs, rms, si_sdr
from sds_engine.dsp.spectra import envelope_spectrum, mel_filters, power_to_db, stft_power

__all__ = [
    "band_edges",
    "envelope_spectrum",
    "level_dbfs",
    "mel_filters",
    "power_to_db",
    "rms",
    "si_sdr",
    "split_bands",
    "stft_power",
]
