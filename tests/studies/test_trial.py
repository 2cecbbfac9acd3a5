import random
from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch

from pvae import memory
from pvae.cli.main import main
from pvae.storage.files import write
from pvae.studies import Measures, Plan, Study, compare, trial
from pvae.studies.trial import check_cells

SMALL = {"epochs": 1, "network": {"class_path": "MLP", "init_args": {"hidden": [8]}}}
TWO = {"latent_dim": [2, 3]}


def study(folder, vary, base=None, **options):
    return Study(folder, Plan.make(SMALL | (base or {}), vary, 1, **options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # What all runs share is named as an option.
        ("--epochs -1 --vary.latent_dim [2,3]", "error: --epochs is -1: it must be"),
        ("--batch_size 0 --vary.latent_dim [2,3]", "error: --batch_size is 0: it must be"),
        ("--latent_dim 0 --vary.epochs [2,3]", "error: --latent_dim is 0: it must be"),
        ("--data nosuch --vary.latent_dim [2,3]", "error: 'nosuch' is neither the path"),
        (
            "--labelled 50 --vary.latent_dim [2,3]",
            "give --conditional true and --classifier Softmax",
        ),
        # And what one cell has by that cell.
        ("--vary.optimizer.lr [1e-3,-1]", "The cell 'optimizer.lr=-1' cannot be trained: The opt"),
        ("--vary.optimizer.lr [abc,def]", "'optimizer.lr=abc' cannot be trained: lr of the optim"),
        ("--vary.epochs [1,0]", "The cell 'epochs=0' cannot be trained: epochs is 0: it must be"),
        ("--vary.patience [late,2]", "The cell 'patience=late' cannot be trained: patience is"),
        (
            "--data seasonal --likelihood Gaussian --metrics mig --vary.latent_dim [2,3]",
            "error: mig is measured by labels, and the data seasonal have none: load",
        ),
        ("--vary.likelihood [Bernoulli,Categorical]", "The cell 'Categorical' cannot be trained:"),
    ],
)
def test_what_train_refuses_is_refused_before_the_study(options, said, tmp_path, capsys):
    arguments = ["--study", str(tmp_path / "study"), "--network.hidden", "[8]"]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments, *options.split()])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert len(printed.err) <= 301
    assert not printed.out
    assert not any(tmp_path.iterdir())


def test_an_error_that_all_cells_have_keeps_its_type(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^There is no"):
        check_cells(study(tmp_path / "study", TWO, {"data": str(tmp_path / "none.npy")}))
    fast = {"class_path": "Adam", "init_args": {"lr": "fast"}}
    with pytest.raises(TypeError, match=r"^lr of the optimizer is 'fast': it must be a number"):
        check_cells(study(tmp_path / "study", TWO, {"optimizer": fast}))


def test_the_trial_leaves_no_trace(tmp_path, monkeypatch):
    """It changes neither Pyro's state nor the folder, and cells of the same data load once."""
    pyro.param("own", torch.ones(2))
    loaded = []
    build = trial.build_configured
    monkeypatch.setattr(
        trial, "build_configured", lambda c, data: loaded.append(data) or build(c, data)
    )
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    check_cells(study(tmp_path / "study", {"latent_dim": [2, 3], "compile": ["auto", True]}))
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert [*pyro.get_param_store().keys()] == ["own"]
    assert [data is None for data in loaded] == [True, False, False, False]
    assert not any(tmp_path.iterdir())


def test_steps_take_the_place_of_epochs(tmp_path):
    """A schedule is tried over the epochs that the run will have."""
    short = {"class_path": "torch.optim.lr_scheduler.OneCycleLR"}
    short["init_args"] = {"max_lr": 0.1, "total_steps": 3}
    vary = {"scheduler": {"none": None, "short": short}}
    check_cells(study(tmp_path / "study", vary, {"epochs": 100}, steps=24))
    with pytest.raises(ValueError, match=r"The cell 'short' .* at epoch 4"):
        check_cells(study(tmp_path / "study", vary, {"epochs": 100}, steps=120))


def test_a_combination_that_alone_cannot_be_trained_is_a_row(tmp_path, in_process):
    """A value that fails with all values of the others is refused, here a rate below zero."""
    vary = {
        "prior": ["StandardNormal", "Hyperspherical"],
        "posterior": ["DiagonalNormal", "PowerSpherical"],
    }
    options = {"metrics": ["neg_elbo"], "items": 20, "seeds": 1, "progress": False}
    found = compare(tmp_path / "study", SMALL, vary, **options)
    assert [len(cell.failures) for cell in found.cells] == [0, 1, 1, 0]
    assert "choose a pair over the same z" in found.cells[1].failures[0]
    with pytest.raises(ValueError, match=r"^The cell '.*optimizer.lr=-1' cannot be trained"):
        compare(tmp_path / "other", SMALL, vary | {"optimizer.lr": [1e-3, -1]}, **options)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("bad", [{("none", 4)}, {("none", 1), ("short", 4)}])
def test_combinations_that_fail_alike_are_rows_each_time(bad, tmp_path, monkeypatch):
    """Also where no other cell is left to try, and where they are the first and the last cell."""
    check = trial.check_configured

    def refusing(vae, data, config):
        name = "none" if config["scheduler"] is None else "short"
        if (name, config["epochs"]) in bad:
            raise ValueError("These do not fit.")
        check(vae, data, config)

    monkeypatch.setattr(trial, "check_configured", refusing)
    step = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}}
    vary = {"scheduler": {"none": None, "short": step}, "epochs": [1, 4]}
    given = study(tmp_path / "study", vary, measures=Measures(("neg_elbo",), items=10))
    check_cells(given)
    names = {f"{name}, epochs={epochs}" for name, epochs in bad}
    finished = [job for job in given.jobs() if job.cell not in names]
    assert len(finished) == 4 - len(bad)
    monkeypatch.setattr(Study, "measured", lambda _, job: job if job in finished else None)
    check_cells(given)


def test_what_does_not_fit_into_memory_is_left_to_the_run(tmp_path, monkeypatch, in_process):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    found = compare(
        tmp_path / "study",
        SMALL,
        {"latent_dim": [2, 10**6]},
        seeds=1,
        metrics=["neg_elbo"],
        items=20,
        progress=False,
    )
    small, large = found.cells
    assert small.seeds == (0,)
    assert "of memory" in large.failures[0]


def test_finished_cells_are_not_tried(tmp_path, in_process):
    data = tmp_path / "numbers.npy"
    np.save(data, np.random.default_rng(0).normal(size=(50, 3)))
    given = study(
        tmp_path / "study",
        TWO,
        {"data": str(data), "likelihood": "Gaussian"},
        measures=Measures(("neg_elbo",), items=10),
    )
    given.run(show=False)
    data.unlink()
    check_cells(given)
    more = Study(given.path, replace(given.plan, seeds=(0, 1)))
    with pytest.raises(FileNotFoundError):
        check_cells(more)
    write(data, b"")
    with pytest.raises(ValueError, match=r"numbers\.npy"):
        check_cells(more, ["latent_dim=3"])
