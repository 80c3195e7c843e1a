"""The shipped prior's network: a transformer over 25 tokens of 80 ms, after DiT (Peebles and Xie 2023).

Noise level and prompt enter through adaptive layer norm (adaLN-Zero). Matrix products almost throughout, few tokens,
wide: that is what two cores can train on a million examples (about 0.2 GFLOP forward an example).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Size:
    """How large: tokens of `components` numbers, width, layers, attention heads, features of a prompt."""

    tokens: int
    components: int
    width: int = 320
    layers: int = 6
    heads: int = 5
    features: int = 384


class Block(nn.Module):
    """Attention, then two matrix products, each shifted, scaled and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """X `[batch, token, width]`, c `[batch, width]` -> x."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        h = self.norm_1(x) * (1 + scale_1) + shift_1
        x = x + gate_1 * self._attend(h)
        h = self.norm_2(x) * (1 + scale_2) + shift_2
        return cast("Tensor", x + gate_2 * self.down(nn.functional.gelu(self.up(h), approximate="tanh")))

    def _attend(self, h: Tensor) -> Tensor:
        batch, tokens, width = h.shape
        qkv = self.qkv(h).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # [batch, head, token, depth]
        return cast("Tensor", self.out(mixed.transpose(1, 2).reshape(batch, tokens, width)))


class Network(nn.Module):
    """F(x, c_noise, prompt): `[batch, token, component]`, `[batch]`, `[batch, feature]` -> `[batch, token, component]`.

    A row of NaN in the prompt stands for "no prompt" (the learned null).
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        width = size.width
        self.enter = nn.Linear(size.components, width)
        self.place = nn.Parameter(0.02 * torch.randn(size.tokens, width))
        self.null = nn.Parameter(0.05 * torch.randn(size.features))
        self.prompt = nn.Sequential(nn.Linear(size.features, width), nn.SiLU(), nn.Linear(width, width))
        self.level = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, size.heads) for _ in range(size.layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, size.components)
        self.straight = nn.Linear(64, size.components)  # how much of the input goes straight to the output
        for layer in (self.modulation, self.leave, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, c_noise: Tensor, prompt: Tensor) -> Tensor:
        """See the class."""
        waves = _waves(c_noise)
        prompt = torch.where(prompt.isnan().any(dim=-1, keepdim=True), self.null, prompt)
        c = nn.functional.silu(self.level(waves) + self.prompt(prompt * math.sqrt(prompt.shape[-1])))
        h = self.enter(x) + self.place  # [batch, token, width]
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=-1)
        h = self.norm(h) * (1 + scale) + shift
        return cast("Tensor", self.leave(h) + self.straight(waves)[:, None] * x)


def _waves(c_noise: Tensor) -> Tensor:
    """Fourier features `[batch, 64]` of the noise level c_noise `[batch]`."""
    hz = torch.exp(torch.linspace(math.log(0.25), math.log(16.0), 32, device=c_noise.device))
    angle = c_noise[:, None] * hz * (2.0 * math.pi / 4.0)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
