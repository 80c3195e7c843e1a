"""The mask network: mel bands as channels of a dilated 1-D convolution net, asked by a query.

A time-convolutional net after Luo and Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 27(8), 2019, on log-mel frames; the
query speaks by feature-wise scales and shifts in every block (FiLM: Perez et al., AAAI 2018), as in universal source
separation by query (Kong et al., arXiv 2305.07447). Every convolution is one matrix product over three shifted copies:
that is what a CPU does fastest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sds_engine.separation.grid import MELS

TEXT = 384  # dimensions of a sentence embedding
STATISTICS = 2 * MELS
_CENTRE_DB, _SCALE_DB = -45.0, 20.0
_LEAST_SHARE, _MOST_SHARE = 0.002, 0.95
_QUIET_SHARE = 0.05  # of the frames, and of the bands, that show the machine alone
_QUIET_BIAS_DB = 4.0  # the 5% quantile of noise averaged over a few cells, below its mean
_LEVEL_DB = 25.0
_ABOVE_SHARE, _OUTSTANDING_DB, _LEVEL_ROUNDS = 0.1, 3.0, 12
_AROUND = 5  # frames and bands over which the mixture's power is averaged
TRUST = 0.15  # in what was learned where there is an enrolment; chosen on training rows and on simulated machines


@dataclass(frozen=True, slots=True)
class NetSize:
    """How large a mask network is: `patch` frames make a token, `dilations` are in tokens, one for each block."""

    channels: int = 192
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    query: int = 128
    patch: int = 2

    def plain(self) -> dict[str, object]:
        """For a card."""
        return asdict(self)


def scaled(log_mel: Tensor) -> Tensor:
    """Decibels as the network takes them: about -2..2."""
    return (log_mel.clamp(-100.0, 20.0) - _CENTRE_DB) / _SCALE_DB


def enrolment_statistics(log_mel: Tensor) -> Tensor:
    """What an enrolment sounds like [batch, 2 * mel]: mean and deviation of every band of log_mel [batch, mel, frame].

    The mean is that of power, in dB: it adds up as sound does. The deviation is that of the level in dB.
    """
    mean = 10.0 * (10.0 ** (log_mel / 10.0)).mean(-1).clamp_min(1e-10).log10()
    deviation = log_mel.std(-1, correction=0) if log_mel.shape[-1] > 1 else torch.zeros_like(mean)
    return torch.cat([scaled(mean), deviation / 10.0], dim=1)


def enrolment_logits(log_mel: Tensor, query: QueryInput) -> Tensor:
    """What the enrolment alone says of log_mel [batch, mel, frame]: logits of its mean power over the mixture's.

    A steady machine's share is its own power over all that is heard (the Wiener filter with the mixture's own power
    below the line). Its level in the mixture is taken from the mixture (`level_db`), the mixture's power from 5 x 5
    cells, so that its own scatter does not count as background. 0 where there is no enrolment.
    """
    around_db = local_mean_db(log_mel)
    mean_db = query.statistics[:, :MELS] * _SCALE_DB + _CENTRE_DB
    asked_db = (mean_db + level_db(around_db, mean_db))[:, :, None]
    share = (10.0 ** ((asked_db - around_db) / 10.0)).clamp(_LEAST_SHARE, _MOST_SHARE)
    return torch.where(query.has_sound[:, None, None], torch.logit(share), 0.0)


def level_db(around_db: Tensor, mean_db: Tensor) -> Tensor:
    """How much louder [batch, 1] a machine is in around_db [batch, mel, frame] than in mean_db [batch, mel], in dB.

    Whatever else is heard only adds: so the level is found where least else is heard, in the quiet moments of a band
    (minimum statistics: Martin, IEEE TSAP 9(5), 2001). Over the bands it is an expectile near their lower end
    (Newey and Powell, Econometrica 55(4), 1987): a band above it counts little, and the less the further it stands
    out, a band below it counts whole.
    """
    excess = quiet_db(around_db) + _QUIET_BIAS_DB - mean_db
    level = excess.kthvalue(max(1, round(_QUIET_SHARE * MELS)), dim=1, keepdim=True).values
    for _ in range(_LEVEL_ROUNDS):
        above = (excess - level).clamp_min(0.0) / _OUTSTANDING_DB
        weight = torch.where(above > 0.0, _ABOVE_SHARE / (1.0 + above.square()), 1.0)
        level = (weight * excess).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return level.clamp(-_LEVEL_DB, _LEVEL_DB)


def quiet_db(around_db: Tensor) -> Tensor:
    """The level of every band in its quiet moments [batch, mel]: the 5% quantile over frames."""
    return around_db.kthvalue(max(1, round(_QUIET_SHARE * around_db.shape[-1])), dim=-1).values


def local_mean_db(log_mel: Tensor) -> Tensor:
    """The mean power of the 5 x 5 cells around each, in dB, of log_mel [batch, mel, frame]."""
    cells = (10.0 ** (log_mel / 10.0))[:, None]
    mean = functional.avg_pool2d(cells, _AROUND, 1, _AROUND // 2, count_include_pad=False)[:, 0]
    return 10.0 * mean.clamp_min(1e-10).log10()


class QueryNet(nn.Module):
    """Enrolment statistics and sentence embedding to one query vector; either may be absent."""

    def __init__(self, size: NetSize) -> None:
        super().__init__()
        self.sound = nn.Sequential(nn.Linear(STATISTICS, 256), nn.GELU(), nn.Linear(256, size.query))
        self.text = nn.Sequential(nn.Linear(TEXT, 128), nn.GELU(), nn.Linear(128, size.query))
        self.no_sound = nn.Parameter(torch.zeros(size.query))
        self.no_text = nn.Parameter(torch.zeros(size.query))

    def forward(self, statistics: Tensor, has_sound: Tensor, text: Tensor, has_text: Tensor) -> Tensor:
        """Statistics [batch, 2 * mel], text [batch, 384], has_* [batch] bool -> [batch, query]."""
        sound = torch.where(has_sound[:, None], self.sound(statistics), self.no_sound)
        words = torch.where(has_text[:, None], self.text(text), self.no_text)
        return functional.layer_norm(sound + words, sound.shape[-1:])


class Block(nn.Module):
    """A residual block [batch, token, channel]: norm, FiLM, dilated convolution over three tokens, mix."""

    def __init__(self, size: NetSize, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(size.channels)
        self.film = nn.Linear(size.query, 2 * size.channels)
        self.taps = nn.Linear(3 * size.channels, size.channels)
        self.out = nn.Linear(size.channels, size.channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.zeros_(self.film.bias)

    def forward(self, hidden: Tensor, query: Tensor) -> Tensor:
        """Of the same shape as `hidden`; query [batch, query]."""
        scale, shift = self.film(query)[:, None].chunk(2, dim=-1)
        normed = self.norm(hidden) * (1.0 + scale) + shift
        tokens, d = hidden.shape[1], self.dilation
        padded = functional.pad(normed, (0, 0, d, d))
        taps = torch.cat([padded[:, :tokens], normed, padded[:, 2 * d :]], dim=-1)  # [batch, token, 3 channel]
        mixed: Tensor = hidden + self.out(functional.gelu(self.taps(taps)))
        return mixed


class MaskNet(nn.Module):
    """Log-mel of mixtures and a query to logits of the share of each band's power that is the target's."""

    def __init__(self, size: NetSize | None = None) -> None:
        super().__init__()
        self.size = size or NetSize()
        self.query = QueryNet(self.size)
        self.first = nn.Linear(2 * MELS * self.size.patch, self.size.channels)
        self.first_film = nn.Linear(STATISTICS + 2 * MELS, self.size.channels)
        self.blocks = nn.ModuleList(Block(self.size, dilation) for dilation in self.size.dilations)
        self.norm = nn.LayerNorm(self.size.channels)
        self.last = nn.Linear(self.size.channels, MELS * self.size.patch)
        nn.init.zeros_(self.last.weight)  # untrained, the net is the enrolment's own answer
        nn.init.zeros_(self.last.bias)

    def latents(self, log_mel: Tensor, query: QueryInput) -> Tensor:
        """What the net made of mixtures before its last layer [batch, token, channel]."""
        return self._latents(log_mel, query, enrolment_logits(log_mel, query))

    def forward(self, log_mel: Tensor, query: QueryInput, trust: float = TRUST) -> Tensor:
        """log_mel [batch, mel, frame] in dB -> logits [batch, mel, frame] of the power ratio.

        `trust` is the share of what was learned that is added to the enrolment's own answer, where there is one.
        """
        return self.answer(log_mel, query, trust)[0]

    def answer(self, log_mel: Tensor, query: QueryInput, trust: float = TRUST) -> tuple[Tensor, Tensor]:
        """What `forward` and `latents` say, at the cost of one of them."""
        said = enrolment_logits(log_mel, query)
        latents = self._latents(log_mel, query, said)
        learned: Tensor = self.last(latents).reshape(len(log_mel), -1, MELS).transpose(1, 2)
        share = torch.where(query.has_sound, trust, 1.0)[:, None, None]
        return share * learned[:, :, : log_mel.shape[-1]].float() + said, latents

    def _latents(self, log_mel: Tensor, query: QueryInput, said: Tensor) -> Tensor:
        """Nothing here knows a level: gain of the mixture or of the enrolment changes nothing but `said`'s shift."""
        statistics = level_free(query.statistics) * query.has_sound[:, None]
        vector = self.query(statistics, query.has_sound, query.text, query.has_text)
        spare = -log_mel.shape[-1] % self.size.patch
        relative = (log_mel - log_mel.mean(dim=(1, 2), keepdim=True)) / _SCALE_DB
        seen = functional.pad(torch.cat([relative, said / 4.0], dim=1), (0, spare), mode="replicate")
        tokens = seen.transpose(1, 2).reshape(len(seen), -1, 2 * MELS * self.size.patch)
        whole = torch.cat([statistics, quiet_db(relative), relative.mean(-1)], dim=1)
        hidden = self.first(tokens) + self.first_film(whole)[:, None]
        for block in self.blocks:
            hidden = block(hidden, vector)
        normed: Tensor = self.norm(hidden)
        return normed


def level_free(statistics: Tensor) -> Tensor:
    """Enrolment statistics [batch, 2 * mel] without their level: the mean over bands is taken off."""
    mean, deviation = statistics.chunk(2, dim=1)
    return torch.cat([mean - mean.mean(1, keepdim=True), deviation], dim=1)


@dataclass(frozen=True, slots=True)
class QueryInput:
    """A batch of queries as tensors: statistics [batch, 2 * mel], text [batch, 384], has_sound, has_text [batch]."""

    statistics: Tensor
    has_sound: Tensor
    text: Tensor
    has_text: Tensor

    def to(self, device: torch.device) -> QueryInput:
        """The same on a device."""
        parts = (self.statistics, self.has_sound, self.text, self.has_text)
        return QueryInput(*(one.to(device) for one in parts))

    @classmethod
    def of(cls, batch: int, *, statistics: Tensor | None = None, text: Tensor | None = None) -> QueryInput:
        """The same query for a whole batch; statistics [2 * mel] and text [384] where there are any."""
        return cls(
            torch.zeros(batch, STATISTICS) if statistics is None else statistics.expand(batch, -1),
            torch.full((batch,), statistics is not None),
            torch.zeros(batch, TEXT) if text is None else text.expand(batch, -1),
            torch.full((batch,), text is not None),
        )
