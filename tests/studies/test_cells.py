from functools import partial

import pytest
import torch
from pyro.infer import Trace_ELBO

import pvae
from pvae.cli.commands import COMMANDS
from pvae.cli.main import make_parser
from pvae.studies import Plan
from pvae.studies.arguments import defaults, described, essence
from pvae.studies.cells import make_axes, make_cells


def test_the_defaults_are_those_of_the_command_line():
    parser = make_parser({command.__name__: command for command in COMMANDS}, ["train"])
    parsed = parser.parse_args(["train"]).train.as_dict()
    ours = defaults()
    assert ours.keys() == parsed.keys() - {"config", "trust", "run", "resume", "seed"}
    for name, value in ours.items():
        theirs = parsed[name]
        if isinstance(value, dict):
            assert value["class_path"] == theirs["class_path"]
        else:
            assert value == theirs, name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Flow", "pvae.priors.Flow"),
        (pvae.priors.Flow, "pvae.priors.Flow"),
        (partial(pvae.priors.Flow), "pvae.priors.Flow"),
        ({"class_path": "Flow"}, "pvae.priors.Flow"),
        ({"class_path": "my_module.Mine", "init_args": None}, "my_module.Mine"),
    ],
)
def test_a_part_is_named_in_several_ways(value, expected):
    assert described("prior", value) == {"class_path": expected, "init_args": {}}


def test_other_arguments_become_plain():
    assert described("objective", Trace_ELBO())["class_path"] == "pyro.infer.Trace_ELBO"
    assert described("epochs", torch.tensor(3)) == 3
    assert described("size", (8, 8)) == [8, 8]


def test_a_grid_of_values_names_and_pairs():
    axes = make_axes(
        {
            "prior": {
                "plain": "StandardNormal",
                "vamp": partial(pvae.priors.VampPrior, components=9),
            },
            "latent_dim, epochs": [[2, 100], [10, 50]],
        }
    )
    cells = make_cells(axes)
    assert [cell.name for cell in cells] == [
        "plain, latent_dim=2, epochs=100",
        "plain, latent_dim=10, epochs=50",
        "vamp, latent_dim=2, epochs=100",
        "vamp, latent_dim=10, epochs=50",
    ]
    assert cells[-1].changes == {
        "prior": {"class_path": "pvae.priors.VampPrior", "init_args": {"components": 9}},
        "latent_dim": 10,
        "epochs": 50,
    }


def test_an_argument_of_a_part_varies_within_it():
    plan = Plan.make(
        {"prior": partial(pvae.priors.VampPrior, components=9), "optimizer.lr": 0.1},
        {"prior.components": [5, 7], "epochs, optimizer.lr": [[3, 0.2], [4, 0.3]]},
        1,
    )
    cell = plan.cells[-1]
    assert cell.name == "prior.components=7, epochs=4, optimizer.lr=0.3"
    config = plan.config(cell)
    assert config["prior"]["init_args"] == {"components": 7}
    assert config["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.3}}
    assert plan.base["prior"]["init_args"] == {"components": 9}
    assert plan.base["optimizer"]["init_args"] == {"lr": 0.1}
    both = Plan.make({}, {"optimizer": ["Adam", "SGD"], "optimizer.lr": [0.1, 0.2]}, 1)
    assert [both.config(cell)["optimizer"]["init_args"]["lr"] for cell in both.cells] == (
        [0.1, 0.2, 0.1, 0.2]
    )
    assert Plan.make({"objective": "FactorVAE"}, {"objective.latent_dim": [2, 3]}, 1)
    passed_on = {"objective": "BetaELBO", "objective.num_particles": 2}
    assert Plan.make(passed_on, {"latent_dim": [2, 3]}, 1)


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"optimizer.lrr": [0.1, 0.2]}, "optimizer Adam has no argument 'lrr': did you mean lr"),
        ({"network.hiden": [[8], [16]]}, "network MLP has no argument 'hiden': did you mean hid"),
        ({"scheduler.gamma": [0.1, 0.2]}, "no scheduler whose gamma"),
        ({"prior.": [0.1, 0.2]}, "no argument of a run: did you mean prior"),
        ({"epochs.a": [0.1, 0.2]}, "no argument of a run: did you mean epochs"),
        (
            {"objective": ["Trace_ELBO", "FactorVAE"]},
            "objective FactorVAE needs latent_dim as well",
        ),
        ({"scheduler": [None, "StepLR"]}, "The scheduler StepLR needs step_size as well"),
    ],
)
def test_an_argument_that_no_part_has_is_refused(vary, said):
    with pytest.raises(ValueError, match=said) as raised:
        Plan.make({}, vary, 1)
    assert len(str(raised.value)) <= 300


def test_variants_are_named_sets_of_arguments():
    axes = make_axes({"variants": {"wide": {"latent_dim": 50, "batch_size": 64}, "plain": {}}})
    assert [(cell.name, dict(cell.changes)) for cell in make_cells(axes)] == [
        ("wide", {"latent_dim": 50, "batch_size": 64}),
        ("plain", {}),
    ]


@pytest.mark.parametrize(
    ("vary", "kind", "said"),
    [
        ({"priro": ["Flow"]}, ValueError, "did you mean prior"),
        ({"prior": []}, ValueError, "empty list"),
        ({"prior": {}}, ValueError, "empty list"),
        ({}, ValueError, "Nothing varies"),
        ([("prior", ["Flow"])], ValueError, "Nothing varies"),
        ({"prior": "Flow"}, TypeError, "give a list"),
        ({"prior": {"class_path": "Flow"}}, TypeError, "a list of parts"),
        ({"prior": ["Flw"]}, ValueError, "did you mean Flow"),
        ({"prior": [3]}, ValueError, "The prior is 3"),
        ({"prior": [{"class_path": "Flow", "layers": 3}]}, ValueError, "init_args"),
        ({"seed": [1, 2]}, ValueError, "number of seeds"),
        ({"run": ["a"]}, ValueError, "no argument of a run"),
        ({"latent_dim": [2, 2]}, ValueError, "same name"),
        ({"latent_dim": {" ": 2, "b": 3}}, ValueError, "name of a variant is empty"),
        ({"latent_dim": {"a": 2, "b": 2}}, ValueError, "are the same"),
        ({"latent_dim": {"a": 2, "a, b": 3}, "epochs": {"b, c": 2, "c": 3}}, ValueError, "same na"),
        ({"latent_dim, epochs": [[2]]}, ValueError, "1 values for 2"),
        ({"latent_dim, epochs": [2, 3]}, TypeError, "must be a list"),
        ({"latent_dim": [2], "variants": {"a": {"latent_dim": 3}}}, ValueError, "varies twice"),
        ({"variants": {"a": 3}}, TypeError, "set of arguments"),
        ({"epochs": [float("nan")]}, ValueError, "finite"),
        ({"data": [object()]}, ValueError, "what a file can hold"),
        ({3: [1]}, TypeError, "name of an argument"),
    ],
)
def test_what_cannot_vary_is_refused(vary, kind, said):
    with pytest.raises(kind, match=said) as raised:
        make_cells(make_axes(vary))
    assert len(str(raised.value)) <= 300


def test_what_configurations_say_is_told_from_defaults():
    short = {
        **defaults(),
        "network": described("network", "MLP"),
        "prior": described("prior", "Flow"),
    }
    long = {
        **short,
        "network": {"class_path": "pvae.networks.MLP", "init_args": {"hidden": [400]}},
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"betas": [0.9, 0.999]}},
    }
    assert essence(short) == essence(long) == {"prior": essence(short)["prior"]}
    long["network"]["init_args"]["hidden"] = [8]
    assert essence(long)["network"]["init_args"] == {"hidden": [8]}
    own = {"class_path": "mine.Prior", "init_args": {"scale": 1.0}}
    assert essence({**short, "prior": own})["prior"] == own
