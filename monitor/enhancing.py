"""The stage `enhanced`: Ex-Diff goes on from the extractor's answer, and says how sure it is.

Its identity twin is the stage with trust 0, which is `MaskStage` but for rounding: the network's correction of the mask
and the spread of its posterior both count by `trust`. Adapted like the extractor before it, and led by that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.model import NEEDS_FINE
from monitor.errors import WorkFailed
from monitor.stages import BATCH, TRUST, MaskStage, Separator, Shares, usual_of

if TYPE_CHECKING:
    from sds_engine.separation.exdiff.model import ExDiffModel

ENHANCED_TRUST = 0.15  # of what Ex-Diff learned, as in `separator`; 0.05 to 0.5 are as good on two simulated machines
NFE = 1
_NET, _SIZE, _DILATIONS, _ASK = "exdiff.net", "exdiff.size", "exdiff.dilations", "exdiff.ask"
_POWER, _HOW = "exdiff.power", "exdiff.how"


@dataclass(frozen=True, eq=False)
class EnhancedStage:
    """A mask stage and the Ex-Diff that it leads.

    power [bin]: the enrolment's mean power. `trust` in 0..1 is that in the network's correction, `nfe` its evaluations.
    """

    mask: MaskStage
    model: ExDiffModel
    power: Tensor
    trust: float = ENHANCED_TRUST
    nfe: int = NFE
    name: str = "enhanced"
    needs_fine: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """One network leads both: the latents of another would mean something else."""
        self.model.led_by(self.mask.net)
        self.model.eval()

    @torch.inference_mode()
    def shares(self, evidence: Evidence) -> Shares:
        """The machine's share of contexts [batch], and how much of the machine is known: less where the spread is wide.

        Raises ValueError for evidence without fine cells.
        """
        if evidence.fine is None:
            raise ValueError("the evidence was heard without fine cells: use a front end with fine=True")
        starts = range(0, len(evidence), BATCH)
        parts = [self._shares(evidence.rows(range(start, min(start + BATCH, len(evidence))))) for start in starts]
        if not parts:
            return Shares(torch.empty_like(evidence.log_mel), torch.empty_like(evidence.log_mel))
        return Shares(torch.cat([part.share for part in parts]), torch.cat([part.known for part in parts]))

    def _shares(self, evidence: Evidence) -> Shares:
        from sds_engine.separation.exdiff.bands import correct
        from sds_engine.separation.exdiff.model import Asked
        from sds_engine.separation.network import TRUST as AS_TRAINED
        from sds_engine.separation.network import QueryInput, enrolment_logits

        log_mel, fine = evidence.log_mel, evidence.fine
        assert fine is not None  # noqa: S101 - `shares` refused it
        query = QueryInput.of(len(log_mel), statistics=self.mask.statistics).to(log_mel.device)
        guess, latents = self.mask.net.answer(log_mel, query, AS_TRAINED)
        said = enrolment_logits(log_mel, query)
        asked = Asked(query, self.power.to(log_mel.device).expand(len(log_mel), -1))
        more = correct(self.model, log_mel, fine, asked, (guess, latents), self.nfe)
        logits = said + (TRUST / AS_TRAINED) * (guess - said)
        share = torch.sigmoid(logits + self.trust * more.shift)
        return Shares(share.float(), torch.sigmoid(torch.logit(share, 1e-6) - self.trust * more.spread).float())

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """Raw, processed (called separated, as behind the extractor) and residual."""
        found = self.shares(evidence)
        return self.paths(evidence, found.share, found.known)

    def paths(self, evidence: Evidence, share: Tensor, known: Tensor | None = None) -> dict[str, Evidence]:
        """The same for shares that are known already: microphones with one network share its batches."""
        return self.mask.paths(evidence, share, known)

    @torch.inference_mode()
    def learned(self, healthy: Evidence) -> EnhancedStage:
        """The same networks with the usual levels of these healthy contexts."""
        return replace(self, mask=replace(self.mask, usual=usual_of(self, healthy)))

    def state(self) -> dict[str, Tensor]:
        """As tensors: the mask stage's, and Ex-Diff's under `exdiff.`."""
        size = self.model.size
        net = {f"{_NET}.{key}": value.half() for key, value in self.model.net.state_dict().items()}
        return {
            **self.mask.state(),
            **net,
            _SIZE: torch.tensor([size.channels, size.query, size.patch, size.heads]),
            _DILATIONS: torch.tensor(size.dilations),
            _ASK: torch.tensor(size.ask, dtype=torch.int64),
            _POWER: self.power,
            _HOW: torch.tensor([self.trust, float(self.nfe)]),
            NEEDS_FINE: torch.ones(1),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> EnhancedStage:
        """From its state. Raises WorkFailed where that is no such stage."""
        from sds_engine.separation.exdiff.model import ExDiffModel
        from sds_engine.separation.exdiff.network import ExDiffSize

        try:
            channels, query, patch, heads = state[_SIZE].tolist()
            dilations, ask = tuple(state[_DILATIONS].tolist()), tuple(state[_ASK].tolist())
            mask = MaskStage.restore(state)
            model = ExDiffModel("latents", mask.net, ExDiffSize(channels, dilations, query, patch, heads, ask))
            prefix = f"{_NET}."
            weights = {key.removeprefix(prefix): one.float() for key, one in state.items() if key.startswith(prefix)}
            model.net.load_state_dict(weights)
            trust, nfe = state[_HOW].tolist()
            return cls(mask, model, state[_POWER].float(), trust, round(nfe))
        except (KeyError, ValueError, RuntimeError) as error:
            raise WorkFailed(
                f"the model's Ex-Diff cannot be used ({error}); train it anew: factory-ear train"
            ) from error


def separator_of(state: Mapping[str, Tensor]) -> Separator:
    """The stage that a model keeps. Raises WorkFailed where its tensors are no stage."""
    return EnhancedStage.restore(state) if _SIZE in state else MaskStage.restore(state)
