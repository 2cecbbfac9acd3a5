"""Every part of the catalogue keeps the contract, and options are read in one place."""

import ast
import inspect
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

import pvae
from pvae import interfaces, posteriors
from pvae.data.domains import Domain
from pvae.interfaces import Model, option
from tests import composition
from tests.objectives_cases import objective_for
from tests.posteriors_cases import made
from tests.priors_cases import CODES

SHAPE, LATENT, N = (1, 8, 8), 4, 3
NETWORKS = {
    "MLP": partial(pvae.networks.MLP, hidden=[4]),
    "Conv": partial(pvae.networks.Conv, channels=[4], hidden=8),
    "ResNet": partial(pvae.networks.ResNet, channels=[4], blocks=1),
    "GRU": partial(pvae.networks.GRU, hidden=4),
}
KINDS = {
    "domain": str,
    "levels": int,
    "relaxed": bool,
    "takes_total": bool,
    "padded": bool,
    "reads_padding": bool,
    "context_shape": tuple,
    "event_shape": tuple,
    "network": nn.Module,
    "output_bias": torch.Tensor,
    "step": int,
    "warms_up": bool,
    "is_bound": bool,
    "is_comparable": bool,
    "weighs_data": str,
    "codes": pvae.distributions.Codes,
}


def check_options(part, kind):
    for name in vars(interfaces.OPTIONS[kind])["__annotations__"]:
        value = option(part, name)
        if value is not None and name != "codes":
            assert isinstance(value, KINDS[name]) if name in KINDS else callable(value), name


def parts():
    yield from (("prior", name, make) for name, make in composition.PRIORS.items())
    yield from (("likelihood", name, make) for name, make in composition.LIKELIHOODS.items())
    yield from (("posterior", name, make) for name, make in composition.POSTERIORS.items())


@pytest.mark.parametrize(
    ("kind", "name", "make"),
    [pytest.param(kind, name, make, id=f"{kind} {name}") for kind, name, make in parts()],
)
def test_every_part_keeps_its_contract(kind, name, make):
    if kind == "prior":
        part, context, event = make(LATENT), (), (LATENT,)
        if connect := option(part, "connect"):
            codes = name in CODES
            connect((posteriors.FSQ if codes else posteriors.DiagonalNormal)(SHAPE, LATENT))
    elif kind == "likelihood":
        part, context, event = make(LATENT, SHAPE), (torch.ones(5, N, LATENT),), SHAPE
    else:
        part = made(name, SHAPE, LATENT, NETWORKS["MLP"])
        context, event = (torch.ones(5, N, *SHAPE),), (LATENT,)
    check_options(part, kind)
    p = part(*context)
    assert isinstance(part, nn.Module)
    assert isinstance(p, TorchDistributionMixin)
    assert p.event_shape == event
    if context:
        assert p.batch_shape == (5, N)
        assert isinstance(part.network, nn.Module)
    if option(part, "takes_total"):
        assert part(*context, total=torch.ones(5, N)).event_shape == event
    if kind == "likelihood":
        assert option(part, "domain") in get_args(Domain)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_its_contract(name):
    shape = SHAPE[1:] if name == "GRU" else SHAPE
    network = NETWORKS[name]((LATENT,), shape)
    assert network(torch.ones(N, LATENT)).shape == (N, *shape)
    check_options(network, "network")
    assert option(network, "output_bias") is not None


@pytest.mark.parametrize("name", composition.OBJECTIVES)
def test_every_objective_keeps_its_contract(name):
    objective = objective_for(composition.OBJECTIVES[name], SHAPE)
    check_options(objective, "objective")
    for method in ("loss", "loss_and_grads"):
        inspect.signature(getattr(objective, method)).bind(None, None, None)


def test_a_part_without_options_has_the_defaults():
    for kind in interfaces.OPTIONS.values():
        for name, default in ((n, getattr(kind, n)) for n in kind.__annotations__):
            assert option(object(), name) is default
            assert name in kind.__doc__
    with pytest.raises(AttributeError, match="no option 'colour'"):
        option(object(), "colour")


def test_a_vae_is_a_model_and_its_class_is_not():
    vae = pvae.build(SHAPE, LATENT, network=NETWORKS["MLP"])
    assert isinstance(vae, Model)
    assert not isinstance(pvae.VAE, Model)
    assert not isinstance(vae.likelihood, Model)


def test_options_are_read_by_option_alone():
    declared = {n for kind in interfaces.OPTIONS.values() for n in kind.__annotations__}
    root = Path(pvae.__file__).parent
    found = []
    for file in set(root.rglob("*.py")) - {root / "interfaces.py"}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            probe = isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "hasattr",
                "getattr",
            )
            if probe and {getattr(a, "value", None) for a in node.args[1:2]} & declared:
                found.append(f"{file.relative_to(root)}:{node.lineno}")
    assert not found
