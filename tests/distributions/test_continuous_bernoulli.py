import pytest
import torch
from scipy import integrate, stats
from torch.distributions import ContinuousBernoulli as Torchs
from torch.distributions import kl_divergence

from pvae.distributions import ContinuousBernoulli

LOGITS = [-1e4, -300.0, -20.0, -1.0, -0.11, -0.09, -1e-3, 0.0, 1e-9, 0.05, 0.1001, 3.0, 40.0, 1e3]


def test_integrates_to_one_at_any_logit():
    logits = torch.tensor(LOGITS).double()
    t = torch.linspace(-34, 34, 100_001).double().unsqueeze(-1)
    # finest at the end where the mass is, which by symmetry can be 0, where float64 is finest too
    p = ContinuousBernoulli(-logits.abs())
    x, slope = t.sigmoid(), t.sigmoid() * (-t).sigmoid()
    density = p.log_prob(x).exp() * slope

    def integral(f):
        return torch.as_tensor(integrate.simpson((f * density).numpy(), x=t[:, 0].numpy(), axis=0))

    one = torch.ones(len(LOGITS)).double()
    torch.testing.assert_close(integral(1), one, rtol=1e-8, atol=0)
    torch.testing.assert_close(integral(x), p.mean, rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(integral((x - p.mean) ** 2), p.variance, rtol=1e-6, atol=1e-12)


def test_is_symmetric():
    x = torch.rand(20, 1).double()
    p, q = (ContinuousBernoulli(sign * torch.tensor(LOGITS).double()) for sign in (1, -1))
    torch.testing.assert_close(p.log_prob(x), q.log_prob(1 - x))
    torch.testing.assert_close(p.mean, 1 - q.mean)
    torch.testing.assert_close(p.variance, q.variance)


def test_float32_is_as_good():
    p = ContinuousBernoulli(torch.tensor(LOGITS))
    exact = ContinuousBernoulli(p.logits.double())
    x = torch.tensor([0.0, 1e-3, 0.5, 0.9, 1.0]).unsqueeze(-1)
    log_prob = exact.log_prob(x.double())
    torch.testing.assert_close(p.log_prob(x).double(), log_prob, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(p.mean.double(), exact.mean, rtol=1e-4, atol=1e-6)


def test_normalizer_is_the_papers():
    logits = torch.tensor([-5.0, -0.3, 0.2, 4.0]).double()
    p = logits.sigmoid()
    constant = 2 * torch.atanh(1 - 2 * p) / (1 - 2 * p)
    x = torch.rand(10, 1).double()
    by_hand = constant.log() + x * p.log() + (1 - x) * (1 - p).log()
    torch.testing.assert_close(ContinuousBernoulli(logits).log_prob(x), by_hand)


def test_agrees_with_torchs_where_that_is_exact():
    logits = torch.tensor([-5.0, -0.3, 0.2, 4.0]).double()
    p, reference = ContinuousBernoulli(logits), Torchs(logits=logits)
    for name in ("mean", "variance"):
        torch.testing.assert_close(getattr(p, name), getattr(reference, name))
    torch.testing.assert_close(p.entropy(), reference.entropy())
    q, other = ContinuousBernoulli(logits.flip(0)), Torchs(logits=logits.flip(0))
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(reference, other))


def test_gradients_are_exact_and_finite():
    logits = torch.tensor(LOGITS).double().requires_grad_()
    p = ContinuousBernoulli(logits)
    x = torch.full((len(LOGITS),), 0.3).double()
    (gradient,) = torch.autograd.grad(p.log_prob(x).sum(), logits)
    torch.testing.assert_close(gradient, x - p.mean.detach(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("logit", [-200.0, -3.0, 0.0, 0.5, 30.0])
def test_samples(logit):
    x = ContinuousBernoulli(torch.tensor(logit).double()).sample((5000,))
    reference = Torchs(logits=torch.tensor(logit).double())
    if abs(logit) > 30:
        uniform = -torch.expm1(logit * x) if logit < 0 else torch.exp(logit * (x - 1))
    else:
        uniform = reference.cdf(x)
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3
