"""Retrieval in front of the prior: what is near to a training caption is pulled there, what is near to none stays."""

import hashlib
import json

import pytest
import torch

from sds_engine.priors import retrieval, text, wordwise
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


def test_a_rare_word_decides() -> None:
    """The word that one subject alone uses speaks for it; what all use, and what none does, favours nobody."""
    words = wordwise.learn(["outer clicks", "outer clicking", "inner clicks"], torch.tensor([0, 0, 1]))
    said = wordwise.speaks_for(words, ["the INNER ring clicks", "outer", "clicks", "zebra", ""])
    assert said[0, 1] > said[0, 0]
    assert said[1, 0] > said[1, 1] == 0.0
    assert said[2, 0] == said[2, 1]
    assert not said[3:].any()
    assert wordwise.words_of("Clicking on the rings, clicked") == ["click", "ring", "click"]


def test_words_turn_a_vote() -> None:
    """Between two subjects that are equally near, the pull goes where the words point."""
    own = unit(0.6, 0.0, 0.0, 0.6, 0.0, 0.1)
    even = pulled(own, CAPTIONS)
    torch.testing.assert_close(even[0, 0], even[0, 3], atol=0.05, rtol=0)
    turned = pulled(own, CAPTIONS, said=torch.tensor([[0.0, 1.0, 0.0]]))
    assert float(turned[0, 3]) > 2.0 * float(turned[0, 0])
    torch.testing.assert_close(pulled(own, CAPTIONS, said=torch.zeros(1, 3)), even)


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("the inner ring of the bearing is cracked, clicks that pulse with the shaft", "inner_race"),
        ("crack in the outer ring of the bearing", "outer_race"),
        ("the compressor's air hose leaks with a hiss", "leak"),
        ("ポンプのキャビテーションのような音", "cavitation"),
        ("a dog barks", "dog_bark"),
    ],
)
def test_words_reach_their_captions(prompt: str, subject: str) -> None:
    """A new wording lies, after the pull, nearest to a caption of what it speaks of."""
    nearest = int((retrieval.embed([prompt]) @ retrieval.known().vectors.T).argmax())
    assert list(phrases())[int(retrieval.known().subject[nearest])] == subject
