"""The shipped prior's network: a transformer over 25 tokens of 80 ms, after DiT (Peebles and Xie 2023).

Noise level and prompt enter through adaptive layer norm (adaLN-Zero). Matrix products almost throughout, few tokens,
wide: that is what two cores can train on a million examples (about 0.2 GFLOP forward an example).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from sds_engine.priors.codec import PATCH


@dataclass(frozen=True, slots=True)
class Size:
    """How large: tokens of `components` numbers, width, layers, attention heads, features of a prompt.

    ears: before which layers the network listens for rhythm (`Rhythm`); none in a network of the first kind.
    """

    tokens: int
    components: int
    width: int = 320
    layers: int = 6
    heads: int = 5
    features: int = 384
    ears: tuple[int, ...] = ()


class Rhythm(nn.Module):
    """What repeats, picked out of noise over the whole sound, and laid before every token.

    Few tokens must agree on the rate and the phase of blows while noise still hides each of them. Here they need not:
    some envelopes are read off the tokens, frame by frame; lines that stand above the noise of their spectrum over
    all 2 s are kept, the rest is taken off (a Wiener filter with the noise by the median, after Donoho and Johnstone
    1994), and what is left is a sum of the regular swellings, in phase in all tokens. Zero at first.
    """

    GROUPS, LINES = 8, 512  # envelopes that are read off a token; points of the transform over all frames

    def __init__(self, width: int, outside: int) -> None:
        super().__init__()
        self.listen = nn.Linear(width, PATCH * self.GROUPS, bias=False)
        self.tell = nn.Linear(3 * PATCH * self.GROUPS, outside)
        self.gain = nn.Linear(outside, outside)
        for layer in (self.tell, self.gain):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """X `[batch, token, width]`, c `[batch, outside]` -> what is to be added, `[batch, token, outside]`."""
        batch, tokens, _ = x.shape
        envelope = self.listen(x).float().view(batch, tokens * PATCH, self.GROUPS)
        lines = torch.fft.rfft(envelope - envelope.mean(dim=1, keepdim=True), n=self.LINES, dim=1)
        power = lines.real.square() + lines.imag.square()
        noise = power.detach().median(dim=1, keepdim=True).values / math.log(2.0) + 1e-6
        own = power / noise  # 1 on average where there is noise alone
        shared = own.mean(dim=2, keepdim=True).expand_as(own)
        kept = torch.stack([_pass(own, 6.0), _pass(shared, 2.0), _pass(shared, 4.0)], dim=-1)
        regular = torch.fft.irfft(lines[..., None] * kept, n=self.LINES, dim=1)[:, : tokens * PATCH]
        told = self.tell(regular.reshape(batch, tokens, -1))
        return cast("Tensor", told * (1 + self.gain(c))[:, None])


def _pass(ratio: Tensor, knee: float) -> Tensor:
    """How much of a line passes whose power is `ratio` times the noise's: half at `knee`, steeply."""
    fourth = (ratio / knee).clamp_max(1e6).square().square()  # more would be infinite, and infinite over infinite
    return fourth / (1.0 + fourth)


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
        self.ears = nn.ModuleDict({str(k): Rhythm(width if k else size.components, width) for k in size.ears})
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
        for number, block in enumerate(self.blocks):
            if number in self.size.ears:
                h = h + self.ears[str(number)](self.norm(h) if number else x, c)
            h = block(h, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=-1)
        h = self.norm(h) * (1 + scale) + shift
        return cast("Tensor", self.leave(h) + self.straight(waves)[:, None] * x)


def with_ears(network: Network, ears: tuple[int, ...], bands: Tensor, seed: int) -> Network:
    """The network with ears before these layers, too; it answers as before until they are trained.

    bands `[frame x group, component]`: what the ear at the input listens to at first (`MelCodec.bands(Rhythm.GROUPS)`).
    Raises ValueError for a layer that the network has not.
    """
    fresh = tuple(k for k in ears if k not in network.size.ears)
    if not fresh:
        return network
    if max(fresh) >= network.size.layers:
        raise ValueError(f"ears before layers {ears}: allowed is 0 to {network.size.layers - 1}")
    torch.manual_seed(seed)
    larger = Network(replace(network.size, ears=(*network.size.ears, *fresh)))
    larger.load_state_dict(network.state_dict(), strict=False)
    if 0 in fresh:
        with torch.no_grad():
            cast("Rhythm", larger.ears["0"]).listen.weight.copy_(bands)
    return larger


def _waves(c_noise: Tensor) -> Tensor:
    """Fourier features `[batch, 64]` of the noise level c_noise `[batch]`."""
    hz = torch.exp(torch.linspace(math.log(0.25), math.log(16.0), 32, device=c_noise.device))
    angle = c_noise[:, None] * hz * (2.0 * math.pi / 4.0)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
