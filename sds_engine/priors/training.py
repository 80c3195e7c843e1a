"""Training of the shipped prior: EDM on latents, AdamW, EMA, checkpoints that training goes on from.

Everything that a step uses follows from the seed and the step's number, so a run that was killed goes on as if it had
not been.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sds_engine.priors import edm
from sds_engine.priors.codec import MelCodec
from sds_engine.priors.mixing import FAULT_DB, Mixer
from sds_engine.priors.network import Network, Size

NULL_SHARE = 0.12  # of the examples without a prompt, for guidance (Ho and Salimans 2022)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train: examples = steps * batch.

    emphasise: subject of a fault -> its weight among the faults, where that is not 1. fault_db: how loud faults are
    over their machine, at least and at most. noise: mean and deviation of log sigma, as it is drawn.
    """

    steps: int = 4_000
    batch: int = 256
    rate: float = 8e-4
    warm_up: int = 200
    ema: float = 0.999
    seed: int = 0
    save_every: int = 100
    bf16: bool = True
    emphasise: tuple[tuple[str, float], ...] = ()
    fault_db: tuple[float, float] = FAULT_DB
    noise: tuple[float, float] = (edm.P_MEAN, edm.P_STD)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"{self.steps} steps of {self.batch} examples: allowed is 1 or more of both")
        if not 0.0 < self.rate < 0.1:
            raise ValueError(f"learning rate {self.rate}: allowed is above 0 and below 0.1")
        if not 0.0 < self.noise[1] < 5.0 or not -5.0 < self.noise[0] < 5.0:
            raise ValueError(f"noise {self.noise}: allowed is a mean of log sigma within 5 of 0, a deviation of 0 to 5")


@dataclass(slots=True)
class Progress:
    """Where training is: step, smoothed loss, examples a second."""

    step: int
    loss: float
    examples_per_s: float


def train(
    codec: MelCodec,
    mixer: Mixer,
    size: Size,
    plan: Plan,
    folder: Path,
    report: Callable[[Progress], None],
    start: Network | None = None,
) -> Network:
    """The trained network's moving average; `folder` keeps the checkpoint that a second call goes on from.

    `start` is a network to fine-tune. Raises ValueError where the folder holds the checkpoint of another plan.
    """
    torch.manual_seed(plan.seed)
    network = copy.deepcopy(start) if start is not None else Network(size)
    average = copy.deepcopy(network).requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01)
    first = _resume(folder, plan, network, average, optimiser)
    smooth, began = math.nan, time.perf_counter()
    for step in range(first, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _schedule(step, plan)
        db, prompt = mixer.batch(step, plan.batch)
        value = _step(
            network, codec.of_db(db), prompt, torch.Generator().manual_seed(plan.seed * 10_000_019 + step), plan
        )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        _average(average, network, min(plan.ema, (step + 1) / (step + 10)))
        smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
        speed = (step + 1 - first) * plan.batch / (time.perf_counter() - began)
        report(Progress(step + 1, smooth, speed))
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save(folder, plan, step + 1, network, average, optimiser)
    return average


def _step(network: Network, y: Tensor, prompt: Tensor, generator: torch.Generator, plan: Plan) -> float:
    """Gradients of one batch; the mean loss."""
    sigma = (plan.noise[0] + plan.noise[1] * torch.randn(len(y), generator=generator)).exp()
    noise = torch.randn(y.shape, generator=generator)
    dropped = torch.rand(len(y), 1, generator=generator) < NULL_SHARE
    prompt = torch.where(dropped, torch.nan, prompt)
    cast = torch.autocast("cpu", torch.bfloat16) if plan.bf16 else contextlib.nullcontext()
    with cast:
        losses = edm.loss(network, y, prompt, sigma, noise)
    mean = losses.mean()
    mean.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    return float(mean.detach())


def _schedule(step: int, plan: Plan) -> float:
    """Linear warm-up, then a cosine down to 2%."""
    if step < plan.warm_up:
        return (step + 1) / plan.warm_up
    done = (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def _average(average: Network, network: Network, keep: float) -> None:
    for mean, now in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1.0 - keep)


def _save(
    folder: Path, plan: Plan, step: int, network: Network, average: Network, optimiser: torch.optim.Optimizer
) -> None:
    """One file, written beside and moved into place: a kill leaves the old one."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        held = optimiser.state[parameter]
        tensors |= {f"adam.{key}.{name}": held[key] for key in ("step", "exp_avg", "exp_avg_sq")}
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "checkpoint.new"
    metadata = {"step": str(step)} | {key: str(value) for key, value in asdict(plan).items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, fresh, metadata)
    fresh.replace(folder / "checkpoint.safetensors")


def _resume(folder: Path, plan: Plan, network: Network, average: Network, optimiser: torch.optim.Optimizer) -> int:
    """Load the checkpoint, if there is one; the step to go on with."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as held:
        metadata = held.metadata()
    usual = asdict(Plan())  # what a checkpoint says nothing of was not asked for when it was made
    other = [key for key, value in asdict(plan).items() if metadata.get(key, str(usual[key])) != str(value)]
    other = [key for key in other if key != "save_every"]
    if other:
        raise ValueError(
            f"{path} was made with another {', '.join(other)}: continue with the same plan or use a new folder"
        )
    tensors = load_file(path)
    if {f"network.{name}" for name in network.state_dict()} != {k for k in tensors if k.startswith("network.")}:
        raise ValueError(f"{path} holds another network (without ears for rhythm, perhaps): use a new folder")
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    average.load_state_dict({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})
    for name, parameter in network.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        optimiser.state[parameter] = {key: tensors[f"adam.{key}.{name}"] for key in keys}
    return int(metadata["step"])
