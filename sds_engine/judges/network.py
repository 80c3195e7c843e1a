"""The gate's classifier: a small convolution net over the log-mel picture, and one over the modulation spectrum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sds_engine.judges.features import GROUPS


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outside), nn.SiLU()
    )


def _line(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inside, outside, 5, stride=stride, padding=2, bias=False), nn.BatchNorm1d(outside), nn.SiLU()
    )


class GateNet(nn.Module):
    """log-mel [batch, mel, frame] and modulation [batch, group, bin] -> logits [batch, class]; 0.3 M parameters."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.picture = nn.Sequential(_block(1, 16), _block(16, 32), _block(32, 64), _block(64, 96))
        self.rhythm = nn.Sequential(
            _line(2 * GROUPS, 48, 1), _line(48, 64, 2), _line(64, 64, 2), _line(64, 64, 2), nn.Flatten()
        )
        self.drop = nn.Dropout(0.3)
        self.hidden = nn.Linear(2 * 96 * 4 + 64 * 15, 128)
        self.out = nn.Linear(128, classes)

    def forward(self, log_mel: Tensor, modulation: Tensor) -> Tensor:
        """Logits [batch, class]."""
        seen = self.picture(log_mel[:, None])  # [batch, channel, 4, frame]
        seen = torch.cat([seen.mean(3), seen.amax(3)], 1).flatten(1)
        level = modulation.mean(2, keepdim=True)
        rhythm = torch.cat([modulation, modulation - level], 1)
        both = torch.cat([seen, self.rhythm(rhythm)], 1)
        logits: Tensor = self.out(self.drop(torch.nn.functional.silu(self.hidden(self.drop(both)))))
        return logits
