"""Score distillation for sound: a frozen diffusion prior teaches a maker of sound what a prompt sounds like.

Audio-SDS (Richter-Powell, Torralba and Lorraine, arXiv 2505.04621, 2025), re-implemented from the paper in pure
functions, with the noise handed in. From one idea to the next:

- `settings`: `SdsSettings`; `noise`: one seed per item, levels of noise, weights.
- `guidance`: prompt against null, or against a source prompt (SDS-Bridge).
- `denoise`: several steps instead of one, and the way back (SDI).
- `residuals`: Eq. 4 and Eq. 5; `emphasis`: Eq. 7; `loss`: all of them behind one function, `sds_loss`.
- `optimise`: the loop over a batch of makers; `separate`: Eq. 12-13.
"""

from sds_engine.sds.loss import Ask, sds_loss
from sds_engine.sds.noise import NoiseSource, SeededNoise
from sds_engine.sds.optimise import Maker, Outcome, Params, optimise
from sds_engine.sds.separate import SeparationSettings, remix, separate
from sds_engine.sds.settings import SdsSettings

__all__ = [
    "Ask",
    "Maker",
    "NoiseSource",
    "Outcome",
    "Params",
    "SdsSettings",
    "SeededNoise",
    "SeparationSettings",
    "optimise",
    "remix",
    "sds_loss",
    "separate",
]
