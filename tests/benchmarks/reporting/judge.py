"""The judge that reports: some small nets over `hearing.figures`, averaged. Never shipped, never gates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from reporting.hearing import BUZZ, RHYTHM, figures
from safetensors.torch import load
from torch import Tensor, nn

FOLDER = Path(__file__).parent
Rows = tuple[Tensor, Tensor, Tensor]  # plain [row, figure], rhythm [row, band, bin], buzz [row, band, bin]


def _along(bands: int) -> nn.Sequential:
    """Reads modulation spectra along their logarithmic axis, so that another speed is a shift."""
    layers: list[nn.Module] = []
    for inside, outside, stride in ((bands, 48, 1), (48, 64, 2), (64, 64, 2)):
        layers += [nn.Conv1d(inside, outside, 5, stride, 2), nn.GroupNorm(8, outside), nn.GELU()]
    return nn.Sequential(*layers)


class Ear(nn.Module):
    """One of the nets: the plain figures and both modulation spectra, as they are and read along, into one layer."""

    def __init__(self, plain: int, classes: int) -> None:
        super().__init__()
        self.rhythm, self.buzz = _along(2 * RHYTHM[0]), _along(2 * BUZZ[0])
        self.plain = nn.Sequential(nn.Linear(plain, 192), nn.LayerNorm(192), nn.GELU())
        self.straight = nn.Sequential(nn.Linear(RHYTHM[0] * RHYTHM[1], 96), nn.LayerNorm(96), nn.GELU())
        wide = 192 + 96 + 64 * (RHYTHM[1] // 4 + BUZZ[1] // 4)
        self.hidden = nn.Sequential(nn.Dropout(0.4), nn.Linear(wide, 160), nn.LayerNorm(160), nn.GELU())
        self.out = nn.Sequential(nn.Dropout(0.4), nn.Linear(160, classes))

    def forward(self, plain: Tensor, rhythm: Tensor, buzz: Tensor) -> Tensor:
        """Logits [row, class]."""
        seen = [self.plain(plain), self.straight(rhythm.flatten(1))]
        for net, lines in ((self.rhythm, rhythm), (self.buzz, buzz)):
            above = lines - lines.median(2, keepdim=True).values
            seen.append(net(torch.cat([lines, above], 1)).flatten(1))
        logits: Tensor = self.out(self.hidden(torch.cat(seen, 1)))
        return logits


@dataclass(frozen=True)
class ReportingJudge:
    """`probabilities(wave [batch, time]) -> [batch, class]` of 2 s sounds at 16 kHz; `classes` in order."""

    nets: list[Ear]
    mean: Tensor
    deviation: Tensor
    classes: tuple[str, ...]
    temperature: float

    @torch.no_grad()
    def probabilities(self, wave: np.ndarray | Tensor) -> Tensor:
        """Calibrated probabilities; a row does not depend on its batch mates. Raises ValueError as `figures` does."""
        if not len(wave):
            return torch.zeros(0, len(self.classes))
        parts = zip(*(figures(row) for row in np.asarray(wave)), strict=True)
        plain, rhythm, buzz = (torch.from_numpy(np.stack(part)) for part in parts)
        return self.from_figures((plain, rhythm, buzz))

    @torch.no_grad()
    def from_figures(self, rows: Rows) -> Tensor:
        """The same from figures that were drawn before."""
        scaled = ((rows[0] - self.mean) / self.deviation).clamp(-6, 6)
        logits = torch.stack([net(scaled, *rows[1:]).log_softmax(1) for net in self.nets]).mean(0)
        return (logits / self.temperature).softmax(1)


def load_reporting(folder: Path = FOLDER) -> ReportingJudge:
    """The judge from reporting.safetensors and reporting.json, whose hashes must agree."""
    card = json.loads((folder / "reporting.json").read_text(encoding="utf-8"))
    data = (folder / "reporting.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder / 'reporting.safetensors'} is not the file that reporting.json describes")
    tensors = {name: tensor.float() for name, tensor in load(data).items()}
    mean, deviation = tensors.pop("mean"), tensors.pop("deviation")
    nets = []
    for number in range(card["nets"]):
        net = Ear(len(mean), len(card["classes"]))
        net.load_state_dict({k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}.")})
        nets.append(net.eval())
    return ReportingJudge(nets, mean, deviation, tuple(card["classes"]), float(card["temperature"]))
