import math

import pytest
import torch

from pvae.distributions import HypersphericalUniform


@pytest.mark.parametrize(
    ("dim", "area"),
    [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2), (5, 8 * math.pi**2 / 3)],
)
def test_density_is_one_over_the_area(dim, area):
    p = HypersphericalUniform(dim, dtype=torch.float64)
    z = p.sample((7, 5))
    torch.testing.assert_close(p.log_prob(z).exp() * area, torch.ones_like(z[..., 0]))
    assert p.entropy().item() == pytest.approx(math.log(area))


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_moments(dim):
    p = HypersphericalUniform(dim, dtype=torch.float64)
    z = p.sample((40_000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones_like(z[:, 0]))
    torch.testing.assert_close(z.mean(0), p.mean, rtol=0, atol=5 / (dim * 40_000) ** 0.5)
    covariance = z.T @ z / len(z)
    torch.testing.assert_close(covariance, torch.diag(p.variance), rtol=0, atol=0.01)
    fourth = 3 / (dim * (dim + 2))  # E[z_i^4] on the sphere
    torch.testing.assert_close((z**4).mean(0), torch.full_like(p.mean, fourth), rtol=0.1, atol=0)


def test_misuse():
    with pytest.raises(ValueError, match="dim is 1"):
        HypersphericalUniform(1)
    with pytest.raises(ValueError, match="support"):
        HypersphericalUniform(3).log_prob(torch.ones(3))


def test_expand():
    p = HypersphericalUniform(3).expand((4,))
    assert p.sample((2,)).shape == (2, 4, 3)
    assert p.entropy().shape == p.batch_shape == (4,)
    assert p.mean.shape == (4, 3)
