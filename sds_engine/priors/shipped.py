"""The prior that comes with factory-ear, or one trained anew: weights and card in a folder, checked, as a `Prior`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from sds_engine.priors import edm, logmel, retrieval
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.denoiser import Prior, log_levels
from sds_engine.priors.network import Network, Size

SHIPPED = Path(__file__).parent / "weights"
WEIGHTS, CARD = "prior.safetensors", "card.json"
_AGAIN = "install factory-ear anew, or train one with: factory-ear prior train"


@dataclass(frozen=True, slots=True, eq=False)
class MelDenoiser:
    """D(x; sigma, condition) of a trained network; condition `[batch, 384]` from `retrieval.embed`, None: no prompt."""

    network: Network

    @torch.no_grad()
    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """See `Denoiser`; x `[batch, token, component]`."""
        null = torch.full((len(x), self.network.size.features), torch.nan, device=x.device)
        return edm.precondition(self.network, x, sigma, null if condition is None else condition)


@dataclass(frozen=True, slots=True, eq=False)
class ShippedPrior:
    """A `Prior` with what only this kind can do: samples from nothing, and its card."""

    prior: Prior
    codec: MelCodec
    network: Network
    card: Mapping[str, Any]

    def sample(self, condition: Tensor | None, seeds: list[int], guidance: float = 2.0, steps: int = 24) -> Tensor:
        """Sounds `[seed, 32000]` at 16 kHz; one seed for each, so that none depends on its batch mates.

        condition `[seed, 384]` or None; guidance is tau of e^ = (1 + tau) e_prompt - tau e_null.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(TOKENS, self.codec.components, generator=g) for g in generators])
        latent = edm.sample(_guided(self.prior.denoiser, guidance), noise, condition, steps)
        waves = [self.codec.to_wave(one[None], g) for one, g in zip(latent, generators, strict=True)]
        return torch.cat(waves)


def _guided(denoiser: Any, tau: float) -> Any:  # noqa: ANN401 - a Denoiser in, a Denoiser out
    def denoise(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        free: Tensor = denoiser(x, sigma, None)
        return free if condition is None else free + (1.0 + tau) * (denoiser(x, sigma, condition) - free)

    return denoise


def save_prior(folder: Path, codec: MelCodec, network: Network, card: Mapping[str, Any]) -> None:
    """Write weights (half precision) and card; the card gets the sizes and the SHA-256 of the weights."""
    tensors = {f"network.{name}": value.half().contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"codec.{name}": getattr(codec, name).contiguous() for name in ("mean", "basis", "scale")}
    data = save_tensors(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    full = {**card, "size": asdict(network.size), "sha256": hashlib.sha256(data).hexdigest()}
    for name, content in ((WEIGHTS, data), (CARD, json.dumps(full, indent=1, ensure_ascii=False).encode())):
        fresh = folder / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(folder / name)


def load_prior(folder: Path | None = None, device: torch.device | str = "cpu") -> ShippedPrior:
    """The prior in a folder; the shipped one without. Raises ValueError, with the remedy, where files do not fit."""
    folder = folder or SHIPPED
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"no prior in {folder} ({error}): {_AGAIN}") from error
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise ValueError(f"{folder / WEIGHTS} is not the file that its card describes: {_AGAIN}")
    tensors = load_tensors(data)
    network = Network(Size(**{**card["size"], "ears": tuple(card["size"].get("ears", ()))}))
    network.load_state_dict(_part(tensors, "network."))
    network = network.eval().requires_grad_(requires_grad=False).to(device)
    codec = MelCodec(**{name: value.to(device) for name, value in _part(tensors, "codec.").items()})
    prior = Prior(
        denoiser=MelDenoiser(network),
        codec=codec,
        embed=retrieval.embed,
        rate=logmel.RATE,
        seconds=logmel.SAMPLES / logmel.RATE,
        sigma_of_t=log_levels(edm.SIGMA_MIN, edm.SIGMA_MAX),
        name=str(card.get("name", folder.name)),
        digest=str(card["sha256"]),
    )
    return ShippedPrior(prior, codec, network, card)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}
