import pytest
import torch
from torch.distributions import MultivariateNormal

import pvae
from pvae.data import seasonal


def test_series_have_the_covariance():
    x, states, covariance = seasonal(n=20_000, steps=5, dim=2, period=6, damping=0.8, noise=0.3)
    assert states.shape == (20_000, 5, 2)
    p = MultivariateNormal(torch.zeros(10, dtype=torch.float64), covariance)
    whitened = torch.linalg.solve_triangular(p.scale_tril, x.flatten(1).double().T, upper=False)
    error = 5 * (2 / len(x)) ** 0.5
    assert (whitened @ whitened.T / len(x) - torch.eye(10)).abs().max() < error
    assert whitened.mean(1).abs().max() < error


def test_by_name():
    data = pvae.data.load("seasonal")
    assert data.event_shape == (24, 3)
    assert data.domain == "reals"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"period": 0}, "period is 0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"damping": 1}, "damping is 1"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        seasonal(**arguments)
