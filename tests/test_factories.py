from functools import partial

import pytest
import torch
import yaml
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO

from pvae.factories import describe, describe_instance, restore
from pvae.likelihoods import Gaussian
from pvae.networks import MLP, Conv
from pvae.objectives import BetaELBO
from pvae.priors import StandardNormal
from pvae.storage import trust


@pytest.mark.parametrize(
    ("factory", "path"),
    [
        (StandardNormal, "pvae.priors.StandardNormal"),
        (partial(MLP, hidden=(3, 4), dropout=0.5), "pvae.networks.MLP"),
        (
            partial(Gaussian, scale=0.5, network=partial(Conv, channels=[2])),
            "pvae.likelihoods.Gaussian",
        ),
        (partial(torch.optim.Adam, lr=1e-3), "torch.optim.Adam"),
    ],
)
def test_what_is_written_down_is_restored(factory, path):
    description = yaml.safe_load(yaml.safe_dump(describe("part", factory)))
    assert description["class_path"] == path
    restored = restore("part", description, object)
    assert restored.func is getattr(factory, "func", factory)
    assert describe("part", restored) == description


@pytest.mark.parametrize(
    "objective", [Trace_ELBO(num_particles=3), BetaELBO(4.0, warmup_steps=7), RenyiELBO(alpha=0.5)]
)
def test_an_objective_is_restored_with_its_arguments(objective):
    description = yaml.safe_load(yaml.safe_dump(describe_instance("objective", objective)))
    restored = restore("objective", description, ELBO)()
    assert type(restored) is type(objective)
    assert vars(restored) == vars(objective)


class Local:
    pass


@pytest.mark.parametrize(
    "factory",
    [lambda d: None, partial(MLP, (3,)), partial(MLP, hidden=object()), "MLP", torch.relu],
)
def test_what_cannot_be_written_down(factory):
    with pytest.raises(ValueError, match="cannot be written down"):
        describe("network", factory)


def test_a_module_of_ones_own_that_is_not_found_is_looked_for_elsewhere():
    with trust.trusting(["elsewhere"]), pytest.raises(ValueError, match="PYTHONPATH") as refusal:
        restore("prior", {"class_path": "elsewhere.Cauchy"}, torch.nn.Module)
    assert "go to the folder that holds elsewhere" in str(refusal.value)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"class_path": "pvae.data.load", "init_args": {}}, "is not a class derived from Module"),
        ({"class_path": "torch.optim.Adam"}, "is not a class derived from Module"),
        ({"class_path": "pvae.networks.Nope"}, "cannot be imported"),
        ({"class_path": "torch.os.system"}, "cannot be imported"),
        ({"class_path": "os.system"}, "--trust os"),
        ({"class_path": "torch._C.Module"}, "--trust torch._C"),
        ({"class_path": "MLP"}, "has no class_path"),
        ({}, "has no class_path"),
        ("MLP", "has no class_path"),
        ({"class_path": ".relative.Path"}, "code from outside of pvae"),
        (None, "continue it from Python"),
        ({"class_path": "pvae.networks.MLP", "init_args": [1]}, "not arguments by name"),
        (
            {
                "class_path": "pvae.networks.MLP",
                "init_args": {"activation": {"class_path": "subprocess.Popen"}},
            },
            "network.activation subprocess.Popen is code from outside",
        ),
    ],
)
def test_what_is_not_restored(description, sentence):
    with pytest.raises(ValueError, match=sentence):
        restore("network", description, torch.nn.Module)
