import pyro.distributions as dist
import pytest
import torch

from pvae.moments import mean, stddev


def test_moments_in_closed_form_are_taken():
    p = dist.Gamma(torch.tensor([2.0, 5.0]), 1.0)
    assert torch.equal(mean(p), p.mean)
    assert torch.equal(stddev(p), p.stddev)


def test_others_are_estimated():
    base = dist.Normal(torch.tensor([0.0, 1.0]), 0.1)
    p = dist.TransformedDistribution(base, dist.transforms.TanhTransform())
    with pytest.raises(NotImplementedError):
        _ = p.mean
    torch.testing.assert_close(mean(p), torch.tensor([0.0, 0.76]), atol=0.05, rtol=0)
    assert stddev(p)[0] == pytest.approx(0.1, rel=0.3)
