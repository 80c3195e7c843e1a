"""The network of Ex-Diff: a mixture's cells, a point of the bridge, and what the extractor made of the mixture.

Frames fold into tokens with all their cells as channels, through dilated convolutions as in the extractor; twice the
tokens ask the extractor's latents by cross-attention (Yang et al., "Ex-Diff", arXiv 2409.09642). What comes out is not
a spectrum but what makes one of the mixture and the bridge's point: gains and how sure they are (`posterior`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sds_engine.separation.exdiff.cells import CELLS
from sds_engine.separation.network import Block, NetSize, QueryInput, QueryNet, level_free

INPUTS, OUTPUTS = 4, 4  # maps of cells
LATENT = 192
_REACH = 16  # tokens to either side that attention reaches: an answer does not depend on how long the sound is
_WAVES = 4


@dataclass(frozen=True, slots=True)
class ExDiffSize:
    """How large: `patch` frames make a token; `ask` names the blocks after which latents are asked, () for never."""

    channels: int = 192
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    query: int = 128
    patch: int = 2
    heads: int = 4
    ask: tuple[int, ...] = (0, 2)

    def plain(self) -> dict[str, object]:
        """For a card."""
        return asdict(self)

    def blocks(self) -> NetSize:
        """The same as the extractor's blocks take it."""
        return NetSize(self.channels, self.dilations, self.query, self.patch)


class Ask(nn.Module):
    """Cross-attention of tokens to latents near them: the heads look closely or widely, by a learned bias on distance.

    Biases start as slopes (Press et al., "ALiBi", ICLR 2022): without them a token could not find its own latent.
    """

    def __init__(self, size: ExDiffSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.norm = nn.LayerNorm(size.channels)
        self.queries = nn.Linear(size.channels, size.channels)
        self.keys = nn.Linear(LATENT, 2 * size.channels)
        self.out = nn.Linear(size.channels, size.channels)
        slopes = 4.0 * 0.25 ** torch.arange(size.heads).float()
        self.bias = nn.Parameter(-slopes[:, None] * torch.arange(-_REACH, _REACH + 1).abs())

    def forward(self, hidden: Tensor, latents: Tensor) -> Tensor:
        """Of the shape of `hidden` [batch, token, channel]; latents [batch, token, latent] of the same tokens."""
        batch, tokens, channels = hidden.shape
        q = self._split(self.queries(self.norm(hidden)))
        k, v = (self._split(part) for part in self.keys(latents).chunk(2, dim=-1))
        at = torch.arange(tokens, device=hidden.device)
        apart = at[:, None] - at[None]
        bias = self.bias[:, apart.clamp(-_REACH, _REACH) + _REACH]
        bias = bias.masked_fill(apart.abs() > _REACH, -1e4).to(q.dtype)
        heard = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        mixed: Tensor = hidden + self.out(heard.transpose(1, 2).reshape(batch, tokens, channels))
        return mixed

    def _split(self, channels: Tensor) -> Tensor:
        return channels.reshape(*channels.shape[:2], self.heads, -1).transpose(
            1, 2
        )  # [batch, head, token, channel / head]


class ExDiffNet(nn.Module):
    """Maps of cells to maps of cells: inputs [batch, frame, 4, cell] to outputs [batch, frame, 4, cell].

    Untrained, all outputs are 0: then `posterior` is the first guess itself.
    """

    def __init__(self, size: ExDiffSize | None = None) -> None:
        super().__init__()
        self.size = size or ExDiffSize()
        blocks = self.size.blocks()
        self.query = QueryNet(blocks)
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, 64), nn.GELU(), nn.Linear(64, self.size.query))
        self.first = nn.Linear(INPUTS * CELLS * self.size.patch, self.size.channels)
        self.blocks = nn.ModuleList(Block(blocks, dilation) for dilation in self.size.dilations)
        self.ask = nn.ModuleDict({str(number): Ask(self.size) for number in self.size.ask})
        self.norm = nn.LayerNorm(self.size.channels)
        self.last = nn.Linear(self.size.channels, OUTPUTS * CELLS * self.size.patch)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: Tensor, t: Tensor, query: QueryInput, latents: Tensor | None) -> Tensor:
        """T [batch] in 0..1; latents [batch, token, latent] where the network asks for them."""
        statistics = level_free(query.statistics) * query.has_sound[:, None]
        vector = self.query(statistics, query.has_sound, query.text, query.has_text) + self.time(_waves(t))
        batch, frames, patch = len(inputs), inputs.shape[1], self.size.patch
        spare = inputs[:, -1:].expand(-1, -frames % patch, -1, -1)
        tokens = torch.cat([inputs, spare], dim=1).reshape(batch, -1, INPUTS * CELLS * patch)
        hidden = self.first(tokens)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden, vector)
            if str(number) in self.ask:
                if latents is None:
                    raise ValueError("this network asks for the extractor's latents: hand them in")
                hidden = self.ask[str(number)](hidden, latents)
        out: Tensor = self.last(self.norm(hidden)).reshape(batch, -1, OUTPUTS, CELLS)[:, :frames]
        return out.float()


def _waves(t: Tensor) -> Tensor:
    """A bridge time [batch] as waves [batch, 8] of one half to four turns."""
    turns = math.pi * 2.0 ** torch.arange(_WAVES, device=t.device)
    return torch.cat([torch.cos(t[:, None] * turns), torch.sin(t[:, None] * turns)], dim=1)
