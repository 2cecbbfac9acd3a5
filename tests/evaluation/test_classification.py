"""Classification by evidence against Bayes' rule, and measures of probabilities of classes."""

import math

import pytest
import torch

import pvae
from pvae.evaluation import classification, classify
from tests.evidence_cases import LabelledLinearGaussian


def test_by_evidence_it_is_bayes_rule():
    case = LabelledLinearGaussian()
    x, _ = case.sample(20)
    found = classify(case.vae, x, num_samples=5, progress=False)
    torch.testing.assert_close(found.log_joint, case.joint(x))
    torch.testing.assert_close(found.probs, case.joint(x).softmax(-1))
    torch.testing.assert_close(case.vae.classify(x).probs, found.probs)
    assert "probs" in repr(found)


def test_the_measures_by_hand():
    probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45], [0.5, 0.5]])
    found = classification(probs, torch.tensor([0, 1, 1, 0, -1]), bins=2)
    assert found.error == 0.25
    assert found.standard_error == pytest.approx(math.sqrt(0.25 * 0.75 / 4))
    assert found.counts.tolist() == [0, 4]
    assert found.confidence[1].item() == pytest.approx((0.9 + 0.8 + 0.7 + 0.55) / 4)
    assert found.calibration_error == pytest.approx(abs(0.75 - 0.7375))
    assert "error 25.00" in repr(found)


def test_calibrated_probabilities_have_no_calibration_error():
    torch.manual_seed(0)
    probs = torch.randn(100_000, 4).softmax(-1)
    y = torch.distributions.Categorical(probs).sample()
    assert classification(probs, y).calibration_error < 0.01
    assert classification((3 * probs.log()).softmax(-1), y).calibration_error > 0.1


@pytest.mark.parametrize(
    ("probs", "y", "sentence"),
    [
        (torch.ones(3), torch.zeros(3), "expected"),
        (torch.ones(3, 2), torch.zeros(2), "expected"),
        (torch.ones(3, 2), torch.tensor([0, 1, 2]), "from 0 to 1"),
        (torch.ones(3, 2), torch.tensor([-1, -1, -1]), "from 0 to 1"),
        (torch.ones(3, 2), torch.tensor([0, 1, -1]), "not its logits"),
    ],
)
def test_bad_input(probs, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        classification(probs, y)


def test_vaes_without_classes():
    for vae in (pvae.build((5,), 2), pvae.build((5,), 2, conditional=True, label_dim=1)):
        with pytest.raises(ValueError, match="has no classes"):
            classify(vae, torch.ones(2, 5))
