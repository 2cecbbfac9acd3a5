import math
from functools import partial

import pytest
import torch

import pvae
from pvae.evaluation.anomaly import anomaly_score, complexity, roc
from tests.evidence_cases import Discrete, LinearGaussian


def fixed(likelihood, event_shape, raw, **options):
    """A VAE whose p(x|z) is the same for every z, so that p(x) is known."""

    class Constant(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.register_buffer("raw", torch.full(shape, float(raw)))

        def forward(self, z):
            return self.raw.expand(len(z), *self.raw.shape)

    network = lambda _, out: Constant(out)  # noqa: E731
    return pvae.build(
        event_shape, 2, likelihood=partial(likelihood, network=network, **options)
    ).eval()


@pytest.fixture
def case():
    # With the exact posterior the estimate is exact.
    return LinearGaussian()


def test_the_plain_score_is_minus_the_log_likelihood(case):
    x = case.sample(50) * 2
    found = anomaly_score(case.vae, x, num_samples=2, progress=False)
    torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x))
    assert torch.equal(found.score, -found.log_prob)
    assert torch.equal(found.score.argsort(), case.evidence.log_prob(x).argsort(descending=True))


def test_typicality_finds_what_is_too_likely():
    case = LinearGaussian(latent_dim=2, observed=200)
    normal, train = case.sample(50), case.sample(500, seed=1)
    odd = case.evidence.loc + 0.1 * (case.sample(50, seed=2) - case.evidence.loc)
    x, truth = torch.cat([normal, odd]), torch.arange(100) >= 50
    options = {"num_samples": 1, "progress": False}
    assert roc(anomaly_score(case.vae, x, **options).score, truth).area == 0
    found = anomaly_score(case.vae, x, correction="typicality", reference=train, **options)
    assert roc(found.score, truth).area == 1
    expected = case.evidence.log_prob(x) - case.evidence.log_prob(train).mean()
    torch.testing.assert_close(found.score, expected.abs())


def test_a_background_takes_out_what_is_common(case):
    other = LinearGaussian(noise=2.0)
    x = case.sample(20)
    found = anomaly_score(
        case.vae, x, num_samples=1, correction="background", background=other.vae, progress=False
    )
    expected = other.evidence.log_prob(x) - case.evidence.log_prob(x)
    torch.testing.assert_close(found.score, expected)


def test_background_and_complexity_correct_the_likelihood_of_constant_images():
    g = torch.Generator().manual_seed(0)
    shape = (1, 16, 16)
    # Normal are noisy images, dark on average; the anomalies are black.
    normal = torch.bernoulli(torch.full((20, *shape), 0.3), generator=g)
    x, truth = torch.cat([normal, torch.zeros(5, *shape)]), torch.arange(25) >= 20
    vae = fixed(pvae.likelihoods.Bernoulli, shape, math.log(0.3 / 0.7))
    general = fixed(pvae.likelihoods.Bernoulli, shape, math.log(0.1 / 0.9))
    score = partial(anomaly_score, vae, x, num_samples=20, progress=False)
    assert roc(score().score, truth).area == 0
    assert roc(score(correction="background", background=general).score, truth).area == 1
    found = score(correction="complexity")
    assert roc(found.score, truth).area == 1
    torch.testing.assert_close(found.score, -(found.log_prob + complexity(x).float()))


def test_complexity_is_the_length_of_a_file():
    import io
    import zlib

    from PIL import Image

    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (2, 3, 9, 7), generator=g)
    file = io.BytesIO()
    Image.fromarray(x[0].byte().permute(1, 2, 0).numpy()).save(file, "PNG", optimize=True)
    nats = 8 * math.log(2)
    assert complexity(x.float())[0].item() == pytest.approx(nats * len(file.getvalue()))
    # Grey with the uniform noise that makes a density of bytes: the noise is not compressed.
    noisy = (x + torch.rand(x.shape, generator=g, dtype=torch.float64)) / 256
    torch.testing.assert_close(complexity(noisy), complexity(x))
    counts = torch.randint(1000, (2, 5), generator=g)
    length = len(zlib.compress(counts[1].int().numpy().tobytes(), level=9))
    assert complexity(counts)[1].item() == pytest.approx(nats * length)
    with pytest.raises(ValueError, match=r"neither whole numbers nor values in \[0, 1\]"):
        complexity(torch.tensor([[0.5, 1.5]]))


def test_labels_are_those_of_the_data():
    torch.manual_seed(0)
    vae = pvae.build((1, 8, 8), 2, conditional=True, classes=3)
    x, y = torch.bernoulli(torch.full((6, 1, 8, 8), 0.5)), torch.arange(6) % 3
    found = anomaly_score(
        vae, x, y, correction="typicality", reference=(x, y), num_samples=5, progress=False
    )
    torch.testing.assert_close(found.score, (found.log_prob - found.log_prob.mean()).abs())


def test_the_area_is_the_probability_of_a_higher_score():
    score = torch.tensor([1.0, 2.0, 2.0, 3.0, 2.0, 5.0, torch.inf, -torch.inf])
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = roc(score, truth)
    pairs = score[4:, None].sub(score[:4]).sign()
    assert found.area == pytest.approx(((pairs + 1) / 2).mean().item())
    rates = found.false_positive_rate, found.true_positive_rate
    assert torch.trapezoid(found.true_positive_rate, found.false_positive_rate).item() == (
        pytest.approx(found.area)
    )
    for rate in rates:
        assert (rate[0], rate[-1]) == (0, 1)
        assert (rate.diff() >= 0).all()
    assert roc(torch.zeros(8), truth.bool()).area == 0.5


def test_two_normals_have_the_area_of_their_distance():
    g = torch.Generator().manual_seed(0)
    score = torch.randn(20_000, generator=g)
    score[10_000:] += 1
    area = roc(score, torch.arange(20_000) >= 10_000).area
    assert area == pytest.approx(torch.special.ndtr(torch.tensor(0.5**0.5)).item(), abs=0.01)


def test_missing_arguments_are_named(case):
    x = case.sample(3)
    for options, sentence in (
        (
            {"correction": "entropy"},
            "correction is 'entropy': it must be .typicality",
        ),
        ({"correction": "typicality"}, "reference=, a batch .* go together"),
        ({"correction": "background"}, "background=, another .* go together"),
        ({"correction": "complexity"}, "neither whole numbers"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"background": case.vae}, "go together"),
        ({"reference": x}, "go together"),
        ({"correction": "background", "background": Discrete().vae}, "binary of shape .* the VAE"),
    ):
        with pytest.raises(ValueError, match=sentence):
            anomaly_score(case.vae, x, progress=False, **options)
    for score, truth, sentence in (
        (torch.rand(3), torch.ones(3), "must hold both 0 and 1"),
        (torch.rand(3), torch.tensor([0, 1, 2]), "must hold both 0 and 1"),
        (torch.rand(3), torch.ones(4), r"shape \(3,\) and anomalous \(4,\)"),
        (torch.tensor([0.0, torch.nan]), torch.tensor([0, 1]), "score is NaN"),
    ):
        with pytest.raises(ValueError, match=sentence):
            roc(score, truth)
