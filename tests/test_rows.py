import pytest
import torch
from torch import nn

import pvae
from pvae import rows
from pvae.networks import make_network


def test_rows_are_computed_some_at_a_time_and_joined():
    sizes = []

    def call(x, y):
        sizes.append(len(x))
        return x + y

    x, y = torch.rand(1200, 3), torch.rand(1200, 1)
    with torch.no_grad():
        assert torch.equal(rows.by_rows(call, 3, x, y), x + y)
    assert sizes == [512, 512, 176]
    sizes.clear()
    with torch.no_grad():
        rows.by_rows(call, 4000, x, y)
    assert max(sizes) == 100


def test_gradients_and_traced_graphs_see_all_rows_at_once():
    sizes = []

    def call(x):
        sizes.append(len(x))
        return 2 * x

    x = torch.rand(1200, 3, requires_grad=True)
    rows.by_rows(call, 3, x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))
    with torch.no_grad():
        graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: rows.by_rows(call, 3, x))(x)
        assert torch.equal(graph(x), 2 * x)
        rows.by_rows(call, 3, x.to("meta"))
    assert sizes == [1200] * 3


def test_a_network_in_training_sees_all_rows_at_once():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4))
    posterior = pvae.posteriors.DiagonalNormal((1, 8, 8), 2, make_network(network, (1, 8, 8), (4,)))
    x = torch.rand(1200, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(torch.cat(posterior.raw(x), -1), network(x))
        posterior.eval()
        torch.testing.assert_close(torch.cat(posterior.raw(x), -1), network(x))


@pytest.mark.parametrize("draw", [False, True])
def test_many_samples_are_those_of_the_prior_decoded(vae, draw):
    found = vae.sample(1100, seed=3, draw=draw)
    assert found.shape == (1100, 1, 8, 8)
    torch.manual_seed(3)
    z = vae.p_z().sample((1100,))
    if draw:
        assert set(found.unique().tolist()) == {0.0, 1.0}
        assert abs(found.mean() - vae.decode(z).mean.mean()) < 0.01
    else:
        torch.testing.assert_close(found, vae.decode(z).mean)


def test_labels_of_many_samples_stay_with_them():
    vae = pvae.build((1, 8, 8), 2, classes=3, conditional=["likelihood"])
    y = torch.arange(1100) % 3
    found = vae.sample(1100, y, seed=3)
    torch.manual_seed(3)
    torch.testing.assert_close(found, vae.decode(vae.p_z().sample((1100,)), y).mean)


def test_a_wrong_value_in_any_row_is_found(vae):
    x = torch.zeros(1200, 1, 8, 8)
    x[1111, 0, 3, 4] = 0.25
    with pytest.raises(ValueError, match=r"holds 0\.25, and the likelihood Bernoulli"):
        vae.encode(x)
