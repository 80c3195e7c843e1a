"""The judge that reports: three dense nets over `hearing.figures`, averaged. Never shipped, never gates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from reporting.hearing import figures
from safetensors.torch import load

FOLDER = Path(__file__).parent


def dense(inputs: int, classes: int) -> torch.nn.Sequential:
    """One of the nets: two hidden layers."""
    nn = torch.nn
    first = [nn.Linear(inputs, 320), nn.LayerNorm(320), nn.GELU(), nn.Dropout(0.4)]
    second = [nn.Linear(320, 160), nn.LayerNorm(160), nn.GELU(), nn.Dropout(0.4)]
    return nn.Sequential(*first, *second, nn.Linear(160, classes))


@dataclass(frozen=True)
class ReportingJudge:
    """`probabilities(wave [batch, time]) -> [batch, class]` of 2 s sounds at 16 kHz; `classes` in order."""

    nets: list[torch.nn.Sequential]
    mean: torch.Tensor
    deviation: torch.Tensor
    classes: tuple[str, ...]
    temperature: float

    @torch.no_grad()
    def probabilities(self, wave: np.ndarray | torch.Tensor) -> torch.Tensor:
        rows = np.stack([figures(row) for row in np.asarray(wave)])
        return self.from_figures(torch.from_numpy(rows))

    @torch.no_grad()
    def from_figures(self, rows: torch.Tensor) -> torch.Tensor:
        scaled = ((rows - self.mean) / self.deviation).clamp(-6, 6)
        logits = torch.stack([net(scaled).log_softmax(1) for net in self.nets]).mean(0)
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
        net = dense(len(mean), len(card["classes"]))
        net.load_state_dict({k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}.")})
        nets.append(net.eval())
    return ReportingJudge(nets, mean, deviation, tuple(card["classes"]), float(card["temperature"]))
