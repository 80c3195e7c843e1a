"""An autoencoder of healthy sound, by the recipe of the DCASE Task 2 baseline: what it cannot rebuild is odd.

Five consecutive log-mel frames in, a bottleneck of eight, the same frames out, four hidden layers of 128 on either side
with batch normalisation (Koizumi et al., DCASE 2020; Harada et al., "First-shot anomaly detection for machine condition
monitoring: a domain generalization baseline", EUSIPCO 2023). The score is the mean squared error in dB squared, or the
baseline's selective Mahalanobis distance of the error, smallest over domains. Ours differs in two points. It stops
after STEPS batches under one learning-rate cycle (Smith, 2018), ten epochs or so in place of a hundred, because a
calibration out of fold trains it six times over. And its domains are the states found in healthy sound, since a
factory's recordings carry no label of domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from detectors.base import CONTEXT_S, Evidence
from detectors.filled import filled
from detectors.folds import groups_of, out_of_fold
from detectors.states import find_states
from detectors.statistics import band_means, require
from detectors.training import autocast, batches, learning

FRAMES = 5  # that are stacked
HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)
BATCH = 512
STEPS = 800  # at most
EPOCHS = 40  # at most
_LEAST_STEPS = 30
_RATE = 3e-3  # the learning rate at its highest
_LEAST_SCALE = 1e-3  # dB
_CONTEXTS = 16  # scored at a time
_RESIDUALS = 20_000  # a covariance of 640 x 640 needs no more

Layers = list[tuple[Tensor, Tensor]]  # weight [out, in] and bias [out] of each


class Autoencoder:
    """Mean squared error, in dB squared, of rebuilding a context's frames."""

    name = "autoencoder"
    context_s = CONTEXT_S
    selective = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._mean = torch.empty(0)  # [mel], dB
        self._scale = torch.empty(())  # dB, one for all bands, so that errors stay in proportion to dB
        self._layers: Layers = []
        self._whiten: Tensor | None = None  # [domain, feature, feature], W W' = precision of the error

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Train on the device that the evidence lies on. Raises ValueError for fewer than two contexts."""
        groups = groups_of(healthy, groups)
        if len(healthy) < 2:
            raise ValueError(f"{len(healthy)} healthy contexts are too few for a network: give two or more")
        heard = filled(healthy).log_mel
        self._mean = heard.mean((0, 2))
        scale = (heard - self._mean[:, None]).square().mean().sqrt()
        self._scale = torch.where(scale > _LEAST_SCALE, scale, 1.0)
        self._layers = _train(self._stacked(heard).flatten(0, 1), self._seed)
        self._whiten = self._precision(healthy, groups) if self.selective else None
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold error [batch] of every healthy context."""
        statistic = out_of_fold(lambda: type(self)(self._seed), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """The error [batch], float64: of believed cells, in dB squared, or the distance to the nearest domain."""
        device = self._mean.device
        parts = []
        for start in range(0, len(evidence), _CONTEXTS):
            rows = evidence.rows(torch.arange(start, min(start + _CONTEXTS, len(evidence))))
            error, trust = self._errors(rows, device)
            parts.append(self._mean_square(error, trust) if self._whiten is None else self._distance(error, trust))
        return torch.cat(parts).to(evidence.log_mel.device)

    def _stacked(self, log_mel: Tensor) -> Tensor:
        """Standardised frames, FRAMES at a time [batch, place, feature]; a shorter context repeats its last frame."""
        x = (log_mel - self._mean[:, None]) / self._scale
        return _windows(x)

    def _errors(self, rows: Evidence, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """What is rebuilt wrongly [batch, place, feature] in dB, and the trust in each cell."""
        log_mel, trust = filled(rows)
        x = self._stacked(log_mel.to(device))
        error = (rebuilt(self._layers, x) - x) * self._scale
        return error, None if trust is None else _windows(trust.to(device))

    @staticmethod
    def _mean_square(error: Tensor, trust: Tensor | None) -> Tensor:
        if trust is None:
            return error.square().mean((1, 2)).double()
        return (trust * error.square()).sum((1, 2)).double() / trust.sum((1, 2)).double()

    def _distance(self, error: Tensor, trust: Tensor | None) -> Tensor:
        """The mean squared Mahalanobis distance of the error [batch], the smallest over domains."""
        assert self._whiten is not None  # noqa: S101 - the caller asked
        whole: Tensor | float = 1.0
        if trust is not None:
            error, whole = error * trust.sqrt(), trust.mean((1, 2)).double()
        each = [(error @ whiten).square().sum(-1).mean(1).double() for whiten in self._whiten]
        return torch.stack(each).amin(0) / whole

    def _precision(self, healthy: Evidence, groups: Tensor) -> Tensor:
        """The error's inverse covariance in each domain, shrunk (Ledoit and Wolf), as factors."""
        from sklearn.covariance import LedoitWolf

        state = find_states(band_means(healthy).double().cpu(), groups.cpu())
        factors = []
        for number in range(int(state.max()) + 1):
            rows = healthy.rows(torch.nonzero(state == number).squeeze(1))
            every = torch.cat([self._errors(rows.rows([row]), self._mean.device)[0][0] for row in range(len(rows))])
            step = max(1, len(every) // _RESIDUALS)
            covariance = torch.from_numpy(LedoitWolf().fit(every[::step].double().cpu().numpy()).covariance_)
            covariance = covariance + 1e-6 * torch.eye(len(covariance), dtype=torch.float64)
            factors.append(torch.linalg.cholesky(torch.linalg.inv(covariance)).float())
        return torch.stack(factors).contiguous().to(self._mean.device)

    def state(self) -> Mapping[str, Tensor]:
        """The mean [mel], scale [1], weight0, bias0, ... of the layers, and whiten where domains are told apart."""
        named = {"mean": self._mean, "scale": self._scale.reshape(1)}
        for number, (weight, bias) in enumerate(self._layers):
            named |= {f"weight{number}": weight, f"bias{number}": bias}
        return named if self._whiten is None else {**named, "whiten": self._whiten}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state, on the device that it lies on; raises ValueError where that does not fit together."""
        require(state, mean=(None,), scale=(1,))
        features = FRAMES * len(state["mean"])
        widths = (features, *HIDDEN, features)
        for number, (before, after) in enumerate(pairwise(widths)):
            require(state, **{f"weight{number}": (after, before), f"bias{number}": (after,)})
        if cls.selective:
            require(state, whiten=(None, features, features))
        self = cls()
        self._mean, self._scale = state["mean"], state["scale"][0]
        self._layers = [(state[f"weight{number}"], state[f"bias{number}"]) for number in range(len(widths) - 1)]
        self._whiten = state["whiten"] if cls.selective else None
        return self


class SelectiveAutoencoder(Autoencoder):
    """Mahalanobis distance of the same error, the smallest over the states found in healthy sound."""

    name = "autoencoder-mahalanobis"
    selective = True


def _windows(x: Tensor) -> Tensor:
    """[batch, mel, frame] to [batch, place, mel * FRAMES]."""
    if x.shape[-1] < FRAMES:
        x = torch.cat([x, x[..., -1:].expand(*x.shape[:-1], FRAMES - x.shape[-1])], dim=-1)
    return x.unfold(-1, FRAMES, 1).transpose(1, 2).flatten(2)


def rebuilt(layers: Layers, x: Tensor) -> Tensor:
    """What the network makes of x [..., feature]."""
    for weight, bias in layers[:-1]:
        x = functional.linear(x, weight, bias).relu()
    return functional.linear(x, *layers[-1])


def _train(x: Tensor, seed: int) -> Layers:
    """Layers that rebuild rows x [row, feature]; batch normalisation is folded into them."""
    device = x.device
    with learning(seed):
        x = x.clone()
        net = _network(x.shape[1]).to(device)
        count = max(_LEAST_STEPS, min(STEPS, EPOCHS * (len(x) // BATCH)))
        adam = torch.optim.Adam(net.parameters(), lr=_RATE, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=count + 1)
        for part in batches(len(x), BATCH, count):
            batch = x[part.to(device)]
            with autocast(device):
                guess = net(batch)
            loss = (guess.float() - batch).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            cycle.step()
        return _folded(net)


def _network(features: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    before = features
    for width in HIDDEN:
        parts += [nn.Linear(before, width), nn.BatchNorm1d(width, eps=1e-3, momentum=0.05), nn.ReLU()]
        before = width
    return nn.Sequential(*parts, nn.Linear(before, features))


@torch.no_grad()
def _folded(net: nn.Sequential) -> Layers:
    """The linear layers with the running batch normalisation in them: at scoring time it is a fixed scale and shift."""
    layers: Layers = []
    for one in net:
        if isinstance(one, nn.Linear):
            layers.append((one.weight.detach().clone(), one.bias.detach().clone()))
        elif isinstance(one, nn.BatchNorm1d):
            assert one.running_mean is not None  # noqa: S101 - it tracks
            assert one.running_var is not None  # noqa: S101 - it tracks
            weight, bias = layers[-1]
            gain = one.weight / (one.running_var + one.eps).sqrt()
            layers[-1] = (weight * gain[:, None], (bias - one.running_mean) * gain + one.bias)
    return layers
