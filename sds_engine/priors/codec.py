"""The latent codec of the shipped prior: principal components of log-mel patches.

A patch is 80 ms by all 64 bands (640 values); its first components hold what the sound is, what they leave out is
mostly the grain of noise. Linear, so the encoder's Jacobian is exact. Not
invertible to sound by itself: a decoded latent changes the magnitudes of a carrier, whose phases stay (`transfer`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.priors import logmel

PATCH = 10  # frames
TOKENS = logmel.FRAMES // PATCH


@dataclass(frozen=True, slots=True)
class MelCodec:
    """mean `[640]`, basis `[640, component]` orthonormal, scale `[component]`: what each component is divided by.

    The scale is the root of a component's deviation (RMS of all about 1): between none, where the first component
    drowns all others, and whitening, where noise weighs as much as structure.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, db: Tensor, components: int) -> MelCodec:
        """From log-mel examples `[example, frame, band]` in relative dB (`logmel.relative_db`)."""
        patches = to_patches(db).reshape(-1, PATCH * logmel.BANDS).double()
        mean = patches.mean(dim=0)
        covariance = (patches - mean).T @ (patches - mean) / len(patches)
        values, vectors = torch.linalg.eigh(covariance)  # rising
        basis = vectors.flip(-1)[:, :components]
        deviation = values.flip(-1)[:components].clamp_min(1e-9).sqrt()
        scale = deviation.sqrt() * deviation.mean().sqrt()
        return cls(mean.float(), basis.float().contiguous(), scale.float())

    @property
    def components(self) -> int:
        """Numbers for each token."""
        return self.basis.shape[1]

    def bands(self, groups: int) -> Tensor:
        """What a latent token says of the mean level of bands, frame by frame: `[frame x group, component]`.

        Linear; rows of length 1.
        """
        picture = (self.basis.T * self.scale[:, None]).reshape(self.components, PATCH, groups, -1).mean(dim=-1)
        rows = picture.reshape(self.components, PATCH * groups)
        unit: Tensor = rows / rows.norm(dim=0, keepdim=True).clamp_min(1e-9)
        return unit.T.contiguous()

    def of_db(self, db: Tensor) -> Tensor:
        """Relative dB `[batch, frame, band]` -> latent `[batch, token, component]`."""
        return (to_patches(db) - self.mean) @ self.basis / self.scale

    def to_db(self, latent: Tensor) -> Tensor:
        """Latent `[batch, token, component]` -> relative dB `[batch, frame, band]`."""
        patches = (latent * self.scale) @ self.basis.T + self.mean
        return patches.reshape(len(latent), -1, logmel.BANDS)

    def encode(self, wave: Tensor) -> Tensor:
        """`[batch, 32000]` at 16 kHz -> latent `[batch, 25, component]`; differentiable, gain drops out.

        Raises ValueError for another length.
        """
        if wave.shape[-1] != logmel.SAMPLES:
            raise ValueError(f"the sound has {wave.shape[-1]} samples, allowed is {logmel.SAMPLES} (2 s at 16 kHz)")
        return self.of_db(logmel.relative_db(logmel.mel_power(wave)))

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:
        """The carrier `[batch, 32000]` with the magnitudes that the latent asks for; its phases and its gain stay.

        Where the latent agrees with the carrier's own, the carrier comes back: only differences are applied. Several
        latents for each carrier, side by side, share its analysis.
        """
        spectrum = logmel.stft(carrier)  # [batch, bin, frame]
        own = self.to_db(self.of_db(logmel.relative_db(logmel.mel_power_of(spectrum))))
        each = len(latent) // len(carrier)
        if each > 1:
            spectrum, own = spectrum.repeat_interleave(each, dim=0), own.repeat_interleave(each, dim=0)
        return logmel.transfer(spectrum, self.to_db(latent) - own)

    def to_wave(self, latent: Tensor, generator: torch.Generator, iterations: int = 32) -> Tensor:
        """Sound `[batch, 32000]` from a latent alone: Griffin-Lim on its mel power."""
        return logmel.griffin_lim(10.0 ** (self.to_db(latent) / 10.0), iterations, generator)


def to_patches(db: Tensor) -> Tensor:
    """`[..., frame, band]` -> `[..., token, 640]`."""
    return db.reshape(*db.shape[:-2], db.shape[-2] // PATCH, PATCH * logmel.BANDS)
