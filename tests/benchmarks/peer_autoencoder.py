"""The DCASE Task 2 baseline autoencoder, written anew from its description and from nothing of this project.

Harada et al., "First-shot anomaly detection for machine condition monitoring: a domain generalization baseline",
EUSIPCO 2023: five frames of 128 log-mel bands, 640-128-128-128-128-8-128-128-128-128-640 with batch normalisation and
ReLU, Adam at 0.001, batches of 256, 100 epochs on the mean squared error, a tenth of the vectors held out unused.
Score: the mean squared error over the clip, or the Mahalanobis distance of the error under the covariance of the source
or of the target clips' training errors, whichever is smaller. Threshold: a gamma law fitted to the training scores.
Training multiplies in bfloat16 where the processor can (three times as fast here); scores are worked out in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from peers import Learned, Scores, Sound, log_mel
from torch import nn

from detectors.training import autocast

EPOCHS, BATCH, FRAMES = 100, 256, 5
WIDTHS = (128, 128, 128, 128, 8, 128, 128, 128, 128)
Vectors = NDArray[np.float32]


def vectors(sound: Sound) -> Vectors:
    """The clip's stacked frames [vector, 640]."""
    frames = log_mel(sound)
    count = frames.shape[1] - FRAMES + 1
    return np.concatenate([frames[:, place : place + count] for place in range(FRAMES)]).T.copy()


def network(features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = features
    for width in WIDTHS:
        layers += [nn.Linear(before, width), nn.BatchNorm1d(width, momentum=0.01, eps=1e-3), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, features))


def trained(data: Vectors, seed: int, epochs: int) -> nn.Sequential:
    """The network after `epochs` over nine tenths of the vectors."""
    torch.manual_seed(seed)
    x = torch.from_numpy(data)
    x = x[torch.randperm(len(x))[: max(2, round(0.9 * len(x)))]]
    net = network(x.shape[1])
    adam = torch.optim.Adam(net.parameters(), lr=0.001)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(BATCH):
            if len(part) < 2:
                continue  # batch normalisation needs two
            adam.zero_grad()
            with autocast(x.device):
                loss = nn.functional.mse_loss(net(x[part]).float(), x[part])
            loss.backward()
            adam.step()
    return net.eval()


def fit_baseline(clips: Sequence[Sound], domains: Sequence[str], seed: int, epochs: int = EPOCHS) -> dict[str, Learned]:
    """Both scores of the baseline, from one training."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        data = [vectors(clip) for clip in clips]
        net = trained(np.concatenate(data), seed, epochs)

    @torch.no_grad()
    def error(rows: Vectors) -> Vectors:
        x = torch.from_numpy(rows)
        return np.asarray((net(x) - x).numpy())

    errors = [error(one) for one in data]
    inverses = []
    for domain in ("source", "target"):
        mine = [one for one, where in zip(errors, domains, strict=True) if where == domain]
        if mine:
            inverses.append(np.linalg.pinv(np.cov(np.concatenate(mine), rowvar=False), hermitian=True))

    def squared(off: Vectors) -> float:
        return float(np.mean(np.square(off)))

    def selective(off: Vectors) -> float:
        return min(float(np.sqrt(np.maximum(((off @ one) * off).sum(1), 0.0)).mean()) for one in inverses)

    return {
        "DCASE autoencoder, MSE": _learned(squared, error, errors),
        "DCASE autoencoder, Mahalanobis": _learned(selective, error, errors),
    }


def _learned(
    figure: Callable[[Vectors], float], error: Callable[[Vectors], Vectors], errors: Sequence[Vectors]
) -> Learned:
    def score(clips: Sequence[Sound]) -> Scores:
        return np.array([figure(error(vectors(clip))) for clip in clips])

    return Learned(score, np.array([figure(one) for one in errors]), gamma=True)
