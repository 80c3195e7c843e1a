"""Retrieval in front of the prior: what is near to a training caption is pulled there, what is near to none stays."""

import hashlib
import json

import pytest
import torch

from sds_engine.priors import retrieval, text
from sds_engine.priors.captions import phrases
from sds_engine.priors.retrieval import Known, Pull, pulled

CAPTIONS = Known(torch.eye(6), torch.tensor([0, 0, 0, 1, 1, 2]))
# What the encoder read of the captions when the shipped prior was trained: the glossary may grow, these may not change.
READ = "0cba5dbafc6b6dbb692a70b5a157777f839f81a4f9f0f0d56c40dfd13bb8e238"


def unit(*values: float) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor([values]), dim=1)


def test_far_prompts_stay() -> None:
    """A prompt that is near to no caption is given on as it is."""
    far = unit(0.1, 0.1, -1.0, 0.1, -1.0, -1.0)
    torch.testing.assert_close(pulled(far, CAPTIONS), far)


def test_near_prompts_are_pulled_to_their_subject() -> None:
    """A prompt between two captions of one subject lies nearer to both afterwards, and farther from the others."""
    own = unit(0.6, 0.6, 0.0, 0.25, 0.0, 0.25)
    after = pulled(own, CAPTIONS)
    assert bool((after[0, :2] > own[0, :2]).all())
    assert float(after[0, 3]) < 0.7 * float(own[0, 3])
    torch.testing.assert_close(after.norm(dim=1), torch.ones(1))


def test_no_pull_changes_nothing() -> None:
    """With `most` 0 a prompt is its own embedding; each prompt stands alone in its batch."""
    own = torch.cat([unit(1.0, 0.2, 0.0, 0.5, 0.0, 0.0), unit(0.0, 0.0, 0.0, 0.3, 1.0, 0.1)])
    torch.testing.assert_close(pulled(own, CAPTIONS, Pull(most=0.0)), own)
    torch.testing.assert_close(pulled(own, CAPTIONS)[1:], pulled(own[1:], CAPTIONS))


def test_weights_add_up() -> None:
    """The captions' weights are a distribution for every prompt."""
    similarity = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    weights = retrieval._weights(similarity, CAPTIONS.subject, Pull())
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert float(weights.min()) >= 0.0


def test_the_glossary_leaves_the_captions_alone() -> None:
    """New terms of the glossary never change what a training caption is read as: the prior knows the old reading."""
    read = [text.normalise(phrase) for several in phrases().values() for phrase in several]
    assert hashlib.sha256(json.dumps(read).encode()).hexdigest() == READ


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("the compressor's air hose leaks with a hiss", "leak"),
        ("ポンプのキャビテーションのような音", "cavitation"),
        ("a dog barks", "dog_bark"),
    ],
)
def test_words_reach_their_captions(prompt: str, subject: str) -> None:
    """A new wording lies, after the pull, nearest to a caption of what it speaks of."""
    nearest = int((retrieval.embed([prompt]) @ retrieval.known().vectors.T).argmax())
    assert list(phrases())[int(retrieval.known().subject[nearest])] == subject
