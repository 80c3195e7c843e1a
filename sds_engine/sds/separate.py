"""Separation by prompts (Eq. 12-13): one source per prompt, all together the mixture.

The signs that the paper prints disagree with each other; this is one loss, descended:

    L = sum_m ||S_m(mix) - S_m(sum_k x_k)||^2 + gamma sum_k 1/2 sum_m ||sg E[S_m(x^_k)] - S_m(x_k)||^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.sds.emphasis import magnitudes
from sds_engine.sds.loss import Ask, sds_loss
from sds_engine.sds.noise import NoiseSource
from sds_engine.sds.optimise import Tensors, set_gradients, set_rate
from sds_engine.sds.settings import SdsSettings

Form = Literal["wave", "latent"]


@dataclass(frozen=True, slots=True)
class SeparationSettings:
    """How to separate.

    sds: its gamma is the weight of the prior (the paper's 0.02 comes from a source that could not be checked); windows
    () compares samples instead of S_m. form: what of a source is optimised, its samples ("wave") or a latent that the
    codec decodes ("latent", as in the paper).
    """

    sds: SdsSettings = field(default_factory=lambda: SdsSettings(gamma=0.02))
    form: Form = "latent"

    def __post_init__(self) -> None:
        """Check the form."""
        if self.form not in {"wave", "latent"}:
            raise ValueError(f"form = {self.form!r}: allowed is wave, latent")


def reconstruction_loss(mix: Tensor, sources: Tensor, windows: Sequence[int]) -> Tensor:
    """L_rec `[batch]` of mix `[batch, time]` and sources `[batch, source, time]`; without windows, of the samples."""
    together = sources.sum(dim=1)
    if not windows:
        return (mix - together).square().sum(dim=1)
    parts = [(magnitudes(mix, m) - magnitudes(together, m)).square().flatten(1).sum(dim=1) for m in windows]
    return torch.stack(parts).sum(dim=0)


def separate(
    mix: Tensor,
    conditions: Sequence[Tensor],
    prior: Prior,
    settings: SeparationSettings,
    noise: NoiseSource,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Sources `[batch, source, time]` of mixtures `[batch, time]`, one per condition (each `[batch, ...]`).

    noise has batch x source items, the sources of a mixture side by side. Each source starts as an equal share of the
    mixture. watch(iteration, sources) is called at every rendering.
    """
    count = len(conditions)
    if count < 2:
        raise ValueError(f"{count} condition(s): separation needs two prompts or more, one per source")
    ask = Ask(torch.stack(list(conditions), dim=1).flatten(0, 1))  # [row, ...]
    share = (mix / count).repeat_interleave(count, dim=0)  # [row, time]
    render, free = _source_maker(prior, share, settings.form)
    sds = settings.sds
    adam = torch.optim.Adam(list(free.values()), lr=sds.learning_rate)
    for iteration in range(sds.iterations):
        progress = iteration / sds.iterations
        waves = render(free)  # [row, time]
        sources = waves.reshape(-1, count, mix.shape[-1])
        loss = reconstruction_loss(mix, sources, sds.windows)  # [batch]
        if sds.gamma > 0.0:
            pulled = sds_loss(prior, waves, ask, sds, noise, progress).loss
            loss = loss + sds.gamma * pulled.reshape(-1, count).sum(dim=1)
        set_gradients(free, loss.repeat_interleave(count) / count)
        set_rate(adam, sds, progress)
        adam.step()
        if watch is not None:
            watch(iteration, sources.detach())
    with torch.no_grad():
        return render(free).detach().reshape(-1, count, mix.shape[-1])


def _source_maker(prior: Prior, share: Tensor, form: Form) -> tuple[Callable[[Tensors], Tensor], dict[str, Tensor]]:
    """How rows of parameters become sources `[row, time]`, and where they start: at `share` `[row, time]`."""
    if form == "wave":
        return (lambda free: free["wave"]), {"wave": share.clone().requires_grad_()}
    with torch.no_grad():
        latent = prior.codec.encode(share)
    return (lambda free: prior.codec.decode(free["latent"], share)), {"latent": latent.clone().requires_grad_()}


def remix(mix: Tensor, sources: Tensor, window: int = 1024, power: float = 2.0) -> Tensor:
    """Sources `[batch, source, time]` that add up to the mixture `[batch, time]`: it is shared out by their spectra.

    Soft masks |X_k|^p / sum_j |X_j|^p on the mixture's STFT (the generalised Wiener filter: Liutkus and Badeau, ICASSP
    2015), a step after the paper: what the prior invented is lost, the mixture's phase is kept. Where all sources are
    silent the mixture is shared equally.
    """
    hop, length, count = window // 4, mix.shape[-1], sources.shape[1]
    shape = torch.hann_window(window, dtype=mix.dtype, device=mix.device)

    def spectrum(wave: Tensor) -> Tensor:
        return torch.stft(wave, window, hop, window=shape, center=True, pad_mode="constant", return_complex=True)

    found = spectrum(sources.reshape(-1, length)).abs().pow(power)
    strength = found.reshape(-1, count, *found.shape[1:])  # [batch, source, bin, frame]
    total = strength.sum(dim=1, keepdim=True)
    tiny = torch.finfo(mix.dtype).tiny
    masks = torch.where(total > tiny, strength / total.clamp_min(tiny), 1.0 / count)
    parts = (masks * spectrum(mix).unsqueeze(1)).flatten(0, 1)
    back: Tensor = torch.istft(parts, window, hop, window=shape, center=True, length=length)
    return back.reshape(-1, count, length)
