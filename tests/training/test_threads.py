from functools import partial

import pytest
import torch

import pvae
from pvae.data import Batches
from pvae.training import trainer
from pvae.training.threads import threads_for


@pytest.fixture(autouse=True)
def _four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("operations", "threads"), [(0, 1), (1e6, 1), (99e6, 1), (120e6, 2), (1e12, 4)]
)
def test_as_many_as_pay_off(operations, threads):
    with threads_for(operations) as spare:
        assert torch.get_num_threads() == threads
        assert spare is (threads < 4)
    assert torch.get_num_threads() == 4


def test_they_are_restored_after_an_error():
    with pytest.raises(KeyError), threads_for(1):
        raise KeyError
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("network", "per_datum"),
    [
        (partial(pvae.networks.MLP, hidden=[32]), 2 * (64 * 32 + 32 * 4 + 2 * 32 + 32 * 64)),
        (pvae.networks.Conv, None),
    ],
)
def test_the_operations_of_a_step_are_counted(network, per_datum):
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2, network=network)
    batches = Batches(data, data.train, "binary", 128)
    found = trainer._look(pvae.objectives.Trace_ELBO(), vae, batches)
    if per_datum is not None:
        assert found == per_datum
    assert found > 1e3


def test_a_small_net_is_trained_by_one_thread():
    seen = set()

    class Watching(pvae.objectives.Trace_ELBO):
        def loss_and_grads(self, *args):
            seen.add(torch.get_num_threads())
            return super().loss_and_grads(*args)

    vae = pvae.build((1, 8, 8), 2)
    pvae.fit(vae, "digits", epochs=1, objective=Watching(), progress=False)
    assert seen == {1}
    assert torch.get_num_threads() == 4
