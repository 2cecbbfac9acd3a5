from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import pvae
from pvae.evaluation import elbo
from pvae.evaluation.batching import check_batch, per_datum, portions, rows_within
from tests.evidence_cases import Discrete, LinearGaussian


class Found(NamedTuple):
    value: Tensor
    draws: Tensor


def test_the_cases_are_exact():
    case = LinearGaussian()
    x = case.sample(2_000)
    torch.testing.assert_close(case.vae.encode(x).loc, case.posterior(x).loc)
    torch.testing.assert_close(
        case.vae.encode(x).covariance_matrix, case.posterior(x).covariance_matrix
    )
    # With the exact posterior log p(x, z) - log q(z|x) is the evidence, whatever z.
    q = case.vae.encode(x)
    z = q.sample()
    found = case.vae.p_z().log_prob(z) + case.vae.decode(z).log_prob(x) - q.log_prob(z)
    torch.testing.assert_close(found, case.evidence.log_prob(x))
    assert case.gap(x).abs().max() < 1e-9

    wide = LinearGaussian(scale=1.5, shift=0.1)
    gap = wide.evidence.log_prob(x) - elbo(wide.vae, x).elbo
    assert (gap - wide.gap(x)).mean().abs() < 4 * gap.std() / len(x) ** 0.5

    toy = Discrete()
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * toy.observed)
    assert toy.log_evidence(every).exp().sum().item() == pytest.approx(1)


def test_chunks_are_put_together_in_order():
    vae = LinearGaussian().vae
    x = LinearGaussian().sample(50)
    sizes = []

    def estimate(x, y):
        sizes.append(len(x))
        assert not torch.is_grad_enabled()
        assert not vae.training
        return Found(x.sum(-1), torch.rand(len(x)))

    memory = 0.002
    state = torch.get_rng_state()
    found = per_datum(estimate, vae, x, memory=memory, progress=False)
    torch.testing.assert_close(found.value, x.sum(-1))
    assert len(sizes) > 1
    assert sum(sizes) == 50
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    again = per_datum(estimate, vae, x, memory=memory, progress=False)
    assert torch.equal(again.draws, found.draws)
    assert rows_within(vae, 1) > 2 * rows_within(vae, 0.1)
    assert list(portions(10, 4)) == [4, 4, 2]
    assert list(portions(3, 0)) == [1, 1, 1]


def test_data_without_a_density_are_refused(vae, x):
    assert check_batch(vae, x)[0] is x
    for wrong, expected in ((x[0], "n"), (x[:0], "n"), (x.flatten(1), r"\*batch")):
        with pytest.raises(ValueError, match=rf"x has shape .*expected .*\({expected}, 1, 8, 8\)"):
            check_batch(vae, wrong)
    assert torch.equal(check_batch(vae, x.numpy())[0], x)
    grey = x.clone()
    grey[3, 0, 0, 0] = 0.5
    with pytest.raises(ValueError, match=r"x holds 0\.5, .* Bernoulli is over binary"):
        check_batch(vae, grey)
    with pytest.raises(ValueError, match="x holds nan"):
        check_batch(vae, x * torch.nan)
    relaxed = pvae.build((1, 8, 8), 2, likelihood=partial(pvae.likelihoods.Bernoulli, relaxed=True))
    with pytest.raises(ValueError, match=r"reconstruction loss and no density"):
        check_batch(relaxed, x)
    labelled = pvae.build((1, 8, 8), 2, conditional=True, classes=3)
    with pytest.raises(ValueError, match="conditional: give its labels y"):
        check_batch(labelled, x)
    with pytest.raises(ValueError, match=r"y has shape \(2,\) for 6 data"):
        check_batch(labelled, x, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="memory is 0"):
        rows_within(vae, 0)
    with pytest.raises(ValueError, match="num_samples is 0"):
        list(portions(0, 4))
