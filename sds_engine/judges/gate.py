"""The shipped judge: it gates what is synthesised. It never reports how good that is; another judge does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from sds_engine.judges.features import hear
from sds_engine.judges.network import GateNet

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A fitted classifier with its classes in order; `temperature` calibrates its probabilities."""

    net: GateNet
    classes: tuple[str, ...]
    temperature: float

    @torch.no_grad()
    def probabilities(self, wave: Tensor) -> Tensor:
        """Sound [batch, time] of 2 s at 16 kHz -> calibrated probabilities [batch, class]; level plays no part.

        Raises ValueError for another length or NaN. Silence gives some answer: gate it by level first.
        """
        if not len(wave):
            return wave.new_zeros(0, len(self.classes))
        logits = torch.cat([self.net(*hear(rows)) for rows in torch.split(wave, 64)])
        return (logits / self.temperature).softmax(1)

    def index(self, name: str) -> int:
        """The column of a class. Raises ValueError for a name that is none."""
        if name not in self.classes:
            raise ValueError(f"class is {name!r}, allowed is one of {', '.join(self.classes)}")
        return self.classes.index(name)


def load_gate(folder: Path = FOLDER) -> Judge:
    """The gate's judge from its weights and card. Raises ValueError where they are damaged or do not fit."""
    card = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
    data = (folder / "gate.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder / 'gate.safetensors'} is not the file that gate.json describes: install it anew")
    net = GateNet(len(card["classes"]))
    net.load_state_dict(load_tensors(data))
    return Judge(net.eval(), tuple(card["classes"]), float(card["temperature"]))
