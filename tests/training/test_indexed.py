import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pvae
from pvae.data import Batches
from pvae.inference import CompiledSVI
from pvae.training.indexed import Drawn


@pytest.mark.parametrize("likelihood", [pvae.likelihoods.Bernoulli, pvae.likelihoods.Gaussian])
def test_draws_are_part_of_the_graph(likelihood):
    """The minibatch by index and its binarization, with the numbers that an eager step draws."""
    items = torch.rand(50, 1, 8, 8)
    data = pvae.data.load(items, validation=0, test=0)
    losses = []
    for cls in (SVI, lambda *a: CompiledSVI(*a, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(1)
        vae = pvae.build((1, 8, 8), 2, likelihood=likelihood)
        train = Batches(data, data.train, vae.likelihood.domain, batch_size=16)
        assert train.in_memory
        svi = cls(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), Drawn(Trace_ELBO(), train))
        pyro.set_rng_seed(2)
        order = torch.randperm(len(data.train))
        losses.append([float(svi.step(rows)) for rows in [*train.rows(order), *train.rows(order)]])
        losses[-1].append(float(svi.evaluate_loss(order[:16])))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    first, second = losses[0][:4], losses[0][4:8]
    assert first != pytest.approx(second, rel=1e-6)


def test_rows_go_on_where_a_pass_stopped():
    data = pvae.data.load(torch.rand(10, 1, 8, 8))
    train = Batches(data, data.train, "unit interval", batch_size=4)
    order = torch.arange(9, -1, -1)
    assert [len(rows) for rows in train.rows(order)] == [4, 4, 2]
    (last,) = train.rows(order, start=2)
    assert torch.equal(last, torch.tensor([1, 0]))
    (x,) = train.draw(last)
    assert torch.equal(x, data.train.x[[1, 0]])
