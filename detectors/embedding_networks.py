"""Pretrained networks built from the shapes of their own parameters, in plain torch.

- `Cnn`: PANNs' CNN10 and CNN14 (Kong et al., "PANNs", IEEE/ACM TASLP 28, 2020), by the names of the public checkpoints:
  bn0, conv_block1..N.{conv1, conv2, bn1, bn2}, fc1.
- `Vit`: a vision transformer on log-mel patches by timm's names (patch_embed.proj, pos_embed, cls_token, blocks.N with
  norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2; norm), as AudioMAE has them (Huang et al., NeurIPS 2022). EAT's
  names (Chen et al., IJCAI 2024) are translated; its norms come after each half block (`norm_first` false).

BEATs adds a gated relative position bias to every layer, which neither has: its files are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from detectors.statistics import require

KINDS = ("panns", "vit")
# What public checkpoints carry and an embedding does not need: front ends, classifiers, counters.
UNUSED = re.compile(
    r"^(spectrogram_extractor\.|logmel_extractor\.|fc_audioset\.|fc_transfer\.|head\.|head_dist\.|decoder|mask_token$)"
    r"|num_batches_tracked$"
)
_EAT = (
    (re.compile(r"^model\."), ""),
    (re.compile(r"^modality_encoders\.IMAGE\.local_encoder\.proj\."), "patch_embed.proj."),
    (re.compile(r"^modality_encoders\.IMAGE\.extra_tokens$"), "cls_token"),
    (re.compile(r"^modality_encoders\.IMAGE\.fixed_positional_encoder\.positions$"), "pos_embed"),
    (re.compile(r"^modality_encoders\.IMAGE\.context_encoder\.norm\."), "norm_pre."),
)


def translated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by our names, as float32, without those that an embedding does not need."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, to in _EAT:
            name = pattern.sub(to, name)  # noqa: PLW2901 - one name on its way
        if not UNUSED.search(name) and not name.startswith("modality_encoders.IMAGE.decoder"):
            found[name] = tensor.float()
    return found


def build(
    kind: str, tensors: Mapping[str, Tensor], *, heads: int, grid: tuple[int, int], norm_first: bool
) -> nn.Module:
    """The network with these parameters, for scoring. ValueError, naming tensors, for what does not fit together."""
    with torch.device("meta"):
        net: nn.Module = Cnn(tensors) if kind == "panns" else Vit(tensors, heads, grid, norm_first=norm_first)
    wanted = {name: one for name, one in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    unexpected = sorted(set(tensors) - set(wanted))
    missing = sorted(set(wanted) - set(tensors))
    if missing or unexpected:
        raise ValueError(f"network {kind}: missing {_some(missing)}; unexpected {_some(unexpected)}")
    for name, one in wanted.items():
        require(tensors, **{name: tuple(one.shape)})
    counters = {name: torch.zeros((), dtype=torch.long) for name in net.state_dict() if name not in wanted}
    net.load_state_dict({**tensors, **counters}, assign=True)
    return net.requires_grad_(requires_grad=False).eval()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (", ".join(names[:4]) or "nothing") + more


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    require(tensors, **{name: (None,) * dimensions})
    return tuple(tensors[name].shape)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(found.group(1)) for name in tensors if (found := re.match(pattern, name))]
    return max(numbers, default=0)


class _ConvBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor, *, pool: bool) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return functional.avg_pool2d(x, 2) if pool and min(x.shape[-2:]) > 1 else x


class Cnn(nn.Module):
    """Frames [batch, frame, mel] to what PANNs calls the embedding [batch, feature]."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(_shape(tensors, "bn0.weight", 1)[0])
        self.count = _count(tensors, r"conv_block(\d+)\.")
        if not self.count:
            raise ValueError("tensor conv_block1.conv1.weight is missing: these are not the parameters of a PANNs CNN")
        for number in range(1, self.count + 1):
            after, before = _shape(tensors, f"conv_block{number}.conv1.weight", 4)[:2]
            setattr(self, f"conv_block{number}", _ConvBlock(before, after))
        after, before = _shape(tensors, "fc1.weight", 2)
        self.fc1 = nn.Linear(before, after)
        self.mels: int = self.bn0.num_features

    def forward(self, x: Tensor) -> Tensor:
        """CNN14's last block of six is not pooled; mean over bands, then mean and maximum over time together."""
        x = self.bn0(x.transpose(1, 2)[..., None]).squeeze(-1).transpose(1, 2)[:, None]  # [batch, 1, frame, mel]
        for number in range(1, self.count + 1):
            x = getattr(self, f"conv_block{number}")(x, pool=number < 6)
        x = x.mean(3)  # [batch, channel, frame]
        embedded: Tensor = self.fc1(x.amax(2) + x.mean(2)).relu()
        return embedded


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        projected: Tensor = self.proj(mixed)
        return projected


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, *, bias: bool, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads, bias=bias)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self.attn(self.norm1(x))
            return x + self._mlp(self.norm2(x))
        x = self.norm1(x + self.attn(x))
        after: Tensor = self.norm2(x + self._mlp(x))
        return after

    def _mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](x)))
        return out


def _norm(name: str, tensors: Mapping[str, Tensor], width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=1e-6) if f"{name}.weight" in tensors else nn.Identity()


class Vit(nn.Module):
    """Frames [batch, frame, mel] to the mean of the patch tokens [batch, feature]; positions [time, mel] as `grid`."""

    def __init__(self, tensors: Mapping[str, Tensor], heads: int, grid: tuple[int, int], *, norm_first: bool) -> None:
        super().__init__()
        width, _, *patch = _shape(tensors, "patch_embed.proj.weight", 4)
        self.patch = (patch[0], patch[1])
        if heads < 1 or width % heads:
            raise ValueError(f"heads is {heads}, allowed is a divisor of the width {width}")
        if any("grep" in name or "relative_attention" in name for name in tensors):
            raise ValueError("these are parameters of BEATs, whose relative position bias is not built here")
        self.grid = grid
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, self.patch, self.patch)})
        places = grid[0] * grid[1]
        extra = _shape(tensors, "pos_embed", 3)[1] - places
        if extra not in (0, 1):
            raise ValueError(f"tensor pos_embed holds {places + extra} places, the grid {grid} has {places}")
        self._has_own_place = extra == 1
        self.pos_embed = nn.Parameter(torch.empty(1, places + extra, width))
        self.cls_token = nn.Parameter(torch.empty(1, 1, width)) if "cls_token" in tensors else None
        hidden, bias = _shape(tensors, "blocks.0.mlp.fc1.weight", 2)[0], "blocks.0.attn.qkv.bias" in tensors
        count = _count(tensors, r"blocks\.(\d+)\.") + 1
        self.blocks = nn.ModuleList(
            [_Block(width, hidden, heads, bias=bias, norm_first=norm_first) for _ in range(count)]
        )
        self.norm_pre: nn.Module = _norm("norm_pre", tensors, width)
        self.norm: nn.Module = _norm("norm", tensors, width)
        self.mels: int = grid[1] * self.patch[1]

    def forward(self, x: Tensor) -> Tensor:
        """Sound longer than the grid is cut there, shorter is padded with its own mean up to a whole patch."""
        short = -x.shape[1] % self.patch[0]
        if short:
            x = torch.cat([x, x.mean(1, keepdim=True).expand(-1, short, -1)], dim=1)
        tokens = self.patch_embed["proj"](x[:, None, : self.grid[0] * self.patch[0]])  # [batch, width, time, mel]
        place = self.pos_embed[:, self.pos_embed.shape[1] - self.grid[0] * self.grid[1] :]
        place = place.reshape(1, *self.grid, -1)[:, : tokens.shape[2]]
        seen = (tokens.permute(0, 2, 3, 1) + place).flatten(1, 2)
        if self.cls_token is not None:
            first = self.cls_token + (self.pos_embed[:, :1] if self._has_own_place else 0.0)
            seen = torch.cat([first.expand(len(x), -1, -1), seen], dim=1)
        seen = self.norm_pre(seen)
        for block in self.blocks:
            seen = block(seen)
        skip = 0 if self.cls_token is None else 1
        return torch.as_tensor(self.norm(seen)[:, skip:].mean(1))
