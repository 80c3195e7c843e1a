"""Priors with an exact answer: Gaussians and their mixtures, in closed form. Oracles for tests, never a sound model.

For x ~ N(mu, C), x + sigma e ~ N(mu, C + sigma^2 I) and D = mu + C (C + sigma^2 I)^-1 (x - mu) (Tweedie's formula:
Efron, "Tweedie's formula and selection bias", JASA 106, 2011). A mixture weighs its components'
answers by their posterior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.priors.denoiser import IdentityCodec, LevelMap, Prior, log_levels


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture of Gaussians with independent elements; one component is a plain Gaussian.

    means and stds `[component, *shape]`, weights `[component]`. A condition `[batch, component]` multiplies the
    weights: one-hot picks a component, ones change nothing. It must not be all zero.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """The answer D(x, sigma, condition) `[batch, *shape]`, exact."""
        posterior = torch.softmax(self._log_joint(x, sigma, condition), dim=1)  # [batch, component]
        level = _like(sigma, self.means.dim() + 1)  # [batch, 1, 1...]
        shrink = self.stds.square() / (self.stds.square() + level.square())  # [batch, component, *shape]
        clean = self.means + shrink * (x.unsqueeze(1) - self.means)
        return (_like(posterior, clean.dim()) * clean).sum(dim=1)

    def log_density(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logarithm of p(x; sigma) `[batch]`: its gradient in x is the score (D - x) / sigma^2."""
        return torch.logsumexp(self._log_joint(x, sigma, condition), dim=1)

    def _log_joint(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """Weight times density, logarithm `[batch, component]`."""
        variance = self.stds.square() + _like(sigma, self.means.dim() + 1).square()  # [batch, component, *shape]
        squares = (x.unsqueeze(1) - self.means).square() / variance + torch.log(2 * math.pi * variance)
        weights = self.weights if condition is None else self.weights * condition
        logs = torch.log(weights / weights.sum(dim=-1, keepdim=True))  # [component] or [batch, component]
        return logs - 0.5 * squares.flatten(2).sum(dim=2)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """One Gaussian with a full covariance `[element, element]` around mean `[element]`; it knows no condition."""

    mean: Tensor
    covariance: Tensor

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:  # noqa: ARG002 - the contract
        """The answer D(x, sigma) `[batch, element]`, exact."""
        values, vectors = torch.linalg.eigh(self.covariance)
        shrink = values / (values + sigma.square().unsqueeze(1))  # [batch, element]
        clean: Tensor = self.mean + (((x - self.mean) @ vectors) * shrink) @ vectors.T
        return clean

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The logarithm of p(x; sigma) `[batch]`."""
        values, vectors = torch.linalg.eigh(self.covariance)
        variance = values + sigma.square().unsqueeze(1)  # [batch, element], along the axes of the covariance
        squares = ((x - self.mean) @ vectors).square() / variance + torch.log(2 * math.pi * variance)
        density: Tensor = -0.5 * squares.sum(dim=1)
        return density


def one_gaussian(mean: Tensor, std: float | Tensor) -> Mixture:
    """N(mean, std^2), independent elements, as a mixture of one: mean `[*shape]`."""
    stds = torch.as_tensor(std, dtype=mean.dtype, device=mean.device).expand_as(mean)
    return Mixture(mean.unsqueeze(0), stds.unsqueeze(0), torch.ones(1, dtype=mean.dtype, device=mean.device))


def oracle_prior(mixture: Mixture, prompts: Sequence[str], rate: int = 16_000, levels: LevelMap | None = None) -> Prior:
    """A prior over waveforms `[time]` whose components are called by name: prompt i picks component i."""
    if len(prompts) != len(mixture.weights):
        raise ValueError(f"{len(prompts)} prompts for {len(mixture.weights)} components: give one each")
    names = list(prompts)

    def embed(asked: Sequence[str]) -> Tensor:
        unknown = [prompt for prompt in asked if prompt not in names]
        if unknown:
            raise ValueError(f"the oracle does not know {unknown}: ask one of {names}")
        rows = torch.tensor([names.index(prompt) for prompt in asked])
        return torch.nn.functional.one_hot(rows, len(names)).to(mixture.means)

    return Prior(
        denoiser=mixture,
        codec=IdentityCodec(),
        embed=embed,
        rate=rate,
        seconds=mixture.means.shape[-1] / rate,
        sigma_of_t=levels or log_levels(0.02, 5.0),
        name="oracle",
    )


def _like(values: Tensor, dims: int) -> Tensor:
    """`[batch, ...]` with ones appended up to `dims` dimensions."""
    return values.reshape(*values.shape, *([1] * (dims - values.dim())))
