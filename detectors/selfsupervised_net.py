"""The network of the self-supervised detector: two small branches, and the questions it learns from.

One branch sees the mean and deviation of every band, the other the frames without their mean over time, so that they
have to find different things (Wilkinghoff, ICASSP 2024: spectrum and spectrogram). The first starts as the identity, so
that what is learned bends the space of band statistics, in which nearest neighbours are strong already. No layer has a
bias term and the classes' centres are fixed at random: nothing can be met by a constant output (Ruff et al., ICML
2018). Nor is anything normalised, so the output is as many times larger as the input is further from healthy; only the
questions look at its direction alone. Whose sound it is is asked by sub-cluster AdaCos with the fixed scale
(Wilkinghoff, IJCNN 2021; Zhang et al., CVPR 2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from detectors.pretext import ALTERATIONS, make_task, moments
from detectors.training import autocast, batches, learning

TEXTURE = 64  # numbers from the frames
BATCH = 32
STEPS = 480  # at most
EPOCHS = 100  # at most
_LEAST_STEPS = 30
_RATE = 2e-3
_CENTRES = 4  # for each class
_WIDTH = 96
_POOLED = 1e-6  # under the root of a variance
_LEAK = 0.1
_SHARP = 8.0  # directions have numbers well below 1


class Embedder(nn.Module):
    """Bands' statistics [batch, 2 * mel] and frames [batch, mel, frame], standardised, to two embeddings."""

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.look = nn.Linear(2 * mels, _WIDTH, bias=False)
        self.bend = nn.Linear(_WIDTH, 2 * mels, bias=False)
        nn.init.zeros_(self.bend.weight)
        self.texture = nn.ModuleList(
            [
                nn.Conv1d(mels, _WIDTH, 5, 4, padding=2, bias=False),
                nn.Conv1d(_WIDTH, 2 * _WIDTH, 3, 2, padding=1, bias=False),
                nn.Conv1d(2 * _WIDTH, 2 * _WIDTH, 3, 2, padding=1, bias=False),
            ]
        )
        self.join = nn.Linear(4 * _WIDTH, TEXTURE, bias=False)

    def forward(self, statistics: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Of the levels [batch, 2 * mel] and of the texture [batch, TEXTURE], in float32."""
        x = statistics + self.bend(functional.leaky_relu(self.look(statistics), _LEAK))
        y = frames
        for layer in self.texture:
            y = functional.leaky_relu(layer(y), _LEAK)
        y = y.float()
        mean, variance = moments(y)
        pooled = torch.cat([mean, (variance + _POOLED).sqrt()], dim=1).squeeze(-1)
        return x.float(), self.join(pooled).float()


class Questions(nn.Module):
    """The loss: whose sound is it, of `classes`, and what was done to it."""

    centres: Tensor

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        centres = functional.normalize(torch.randn(classes * _CENTRES, features), dim=1)
        self.register_buffer("centres", centres)
        self.scale = math.sqrt(2.0) * math.log(max(2, classes * _CENTRES - 1))  # AdaCos, eq. 14
        self.altered = nn.Linear(features, len(ALTERATIONS))

    def forward(self, parts: tuple[Tensor, Tensor], whose: Tensor, altered: Tensor) -> Tensor:
        """The sum of both cross entropies, by the directions of what the branches embed."""
        direction = torch.cat([functional.normalize(part, dim=1) for part in parts], dim=1)
        cosine = direction @ self.centres.T * 0.5**0.5  # [batch, class * centre]
        logits = (self.scale * cosine).reshape(len(cosine), -1, _CENTRES).logsumexp(-1)
        first = functional.cross_entropy(logits, whose)
        second = functional.cross_entropy(self.altered(_SHARP * direction), altered)
        return first + second


def statistics_of(frames: Tensor) -> Tensor:
    """Mean and deviation over time of every band [batch, 2 * mel]."""
    mean, variance = moments(frames)
    return torch.cat([mean, variance.sqrt()], dim=1).squeeze(-1)


def inputs(log_mel: Tensor, centre: Tensor, spread: Tensor, frame_spread: Tensor) -> tuple[Tensor, Tensor]:
    """What the network sees of contexts [batch, mel, frame]: statistics and frames in healthy units.

    centre and spread [2 * mel] are of the statistics over healthy contexts, frame_spread [mel] is the healthy
    deviation over time, all in dB.
    """
    level = (statistics_of(log_mel) - centre) / spread
    texture = (log_mel - log_mel.mean(-1, keepdim=True)) / frame_spread[:, None]
    return level, texture


def _crop(frames: int) -> slice:
    """Half of the frames, from a random place: half the work, and no two epochs are alike."""
    length = (frames + 1) // 2
    start = int(torch.randint(frames - length + 1, ()))
    return slice(start, start + length)


def train(log_mel: Tensor, groups: Tensor, units: tuple[Tensor, Tensor, Tensor], seed: int) -> Embedder:
    """An embedder of healthy contexts [context, mel, frame] of recordings `groups`, trained where they lie."""
    device = log_mel.device
    with learning(seed):
        log_mel, units = log_mel.clone(), (units[0].clone(), units[1].clone(), units[2].clone())
        groups = groups.clone().to(device)
        classes = int(groups.max()) + 1
        net = Embedder(log_mel.shape[1]).to(device)
        ask = Questions(3 * classes, 2 * log_mel.shape[1] + TEXTURE).to(device)
        count = max(_LEAST_STEPS, min(STEPS, EPOCHS * (len(log_mel) // BATCH)))
        parameters = [*net.parameters(), *ask.parameters()]
        adam = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-2, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=count + 1)
        for drawn in batches(len(log_mel), BATCH, count):
            rows = drawn.to(device)
            partners = torch.randint(len(log_mel), (len(rows),)).to(device)
            part = _crop(log_mel.shape[-1])
            mine, theirs = log_mel[..., part][rows], log_mel[..., part][partners]
            task = make_task(mine, groups[rows], theirs, groups[partners], classes)
            with autocast(device):
                parts = net(*inputs(task.log_mel, *units))
            loss = ask(parts, task.whose, task.altered)
            adam.zero_grad()
            loss.backward()
            adam.step()
            cycle.step()
        return net.requires_grad_(requires_grad=False).eval()
