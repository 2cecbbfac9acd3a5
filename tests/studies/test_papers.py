import math
from types import SimpleNamespace

import pytest
import yaml

from pvae.cli.main import main
from pvae.studies import Table, papers
from pvae.studies.arguments import defaults
from pvae.studies.statistics import Interval
from pvae.training.configured import build_configured

SMALL = {
    "paper": "Somebody (2000), A title",
    "source": "nowhere",
    "table": "Table 1",
    "metric": "log_prob",
    "num_samples": 20,
    "items": 30,
    "paper_seeds": 4,
    "protocol": "Digits.",
    "deviations": ["Everything."],
    "checked": "by hand",
    "base": {
        "data": "digits",
        "epochs": 20,
        "network": {"class_path": "MLP", "init_args": {"hidden": [8]}},
        "scheduler": {"class_path": "MultiStepLR", "init_args": {"milestones": [5, 10]}},
    },
    "scaled": ["epochs", "scheduler.init_args.milestones"],
    "rows": {
        "two": {"changes": {"latent_dim": 2}, "published": -30.0, "others": {"other": -31.0}},
        "three": {"changes": {"latent_dim": 3}, "published": -1.0, "error": 0.5},
    },
}


@pytest.mark.parametrize("path", papers.available(), ids=lambda path: path.stem)
def test_the_tables_that_come_with_pvae_can_be_run(path):
    table = Table.read(path.stem)
    assert table.paper
    assert table.protocol
    assert table.checked
    plan = table.plan(0.01)
    assert [cell.name for cell in plan.cells] == [*table.rows]
    for cell in plan.cells:
        config = plan.config(cell)
        # The paper's data are not always at hand; others of the same kind are.
        stand_in = {"mnist": "digits"}.get(config["data"], "shapes")
        vae, _ = build_configured({**config, "data": stand_in, "seed": 0})
        assert vae.prior is not None


def write(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes, sort_keys=False))
    return str(path)


def test_rows_are_run_and_compared(tmp_path, monkeypatch, capsys, in_process):
    monkeypatch.chdir(tmp_path)
    main(["reproduce", write(tmp_path), "--rows", "two", "--budget", "0.1"])
    said = capsys.readouterr().out
    assert "| two | −30.00 | −31.00 | −" in said
    assert "short: 10 % of the paper's training" in said
    assert "| three | −1.00 ± 0.50 |" in said
    assert said.count("not run") == 1
    assert "- Deviation: One run, where the paper has 4.\n- Deviation: Everything." in said
    assert (tmp_path / "studies" / "small-0.1" / "reproduced.md").read_text() in said


@pytest.mark.parametrize(("ours", "said"), [(1, "One run"), (3, "3 runs"), (4, None)])
def test_runs_that_the_paper_has_more_of_are_a_deviation(ours, said, tmp_path):
    table = Table.read(write(tmp_path))
    cell = SimpleNamespace(seeds=range(ours), estimates={}, costs={})
    rows = [papers.Reproduced("two", table.rows["two"], cell, "")]
    expected = [f"{said}, where the paper has 4."] if said else []
    assert papers.missing_runs(table, rows) == expected


def test_a_budget_is_a_share_of_the_training(tmp_path):
    table = Table.read(write(tmp_path))
    for budget, epochs, milestones in ((1, 20, [5, 10]), (0.1, 2, [0, 1]), (0.01, 1, [0, 0])):
        config = table.plan(budget).config(table.plan(budget).cells[0])
        assert config["epochs"] == epochs
        assert config["scheduler"]["init_args"]["milestones"] == milestones
        assert config["latent_dim"] == 2
    assert set(table.plan().base) >= set(defaults())


@pytest.mark.parametrize(
    ("mean", "error", "budget", "metric", "said"),
    [
        (-80.0, 0.1, 1.0, "log_prob", "reproduced: 1.00 nats better"),
        (-81.0, math.nan, 1.0, "log_prob", "reproduced: 0.00 nats better"),
        (-81.1, 0.1, 1.0, "log_prob", "reproduced: within our interval, 0.10 nats worse"),
        (-82.0, 0.1, 1.0, "log_prob", "not reproduced: 1.00 nats worse"),
        (-82.0, math.nan, 1.0, "log_prob", "not reproduced: 1.00 nats worse, from one seed"),
        (-80.0, 0.1, 0.5, "log_prob", "short: 50 % of the paper's training, 1.00 nats better"),
        (-82.0, 0.1, 1.0, "neg_elbo", "reproduced: 1.00 nats better"),
    ],
)
def test_verdicts(mean, error, budget, metric, said):
    ours = Interval(mean, error, mean - 3 * error, mean + 3 * error, 2)
    assert papers.verdict(ours, -81.0, metric, budget) == said


@pytest.mark.parametrize(
    ("argv", "changes", "said"),
    [
        (["burda2016-table"], {}, "There is no table"),
        (["FILE"], {"rows": {"two": {"published": 1.0}}}, "is not a table"),
        (["FILE"], {"rows": {"two": {"changes": {}, "published": "x"}}}, "published is 'x'"),
        (["FILE"], {"rows": {"two": {"changes": {}}}}, "two lacks the entry published"),
        (["FILE"], {"rows": {"two": {"chanegs": {}}}}, "'chanegs': did you mean changes?"),
        (["FILE"], {"rows": {"two": {"changes": 3, "published": 1}}}, "changes is 3"),
        (["FILE"], {"rows": {"two": 3}}, "two is 3: it must be entries by name."),
        (["FILE"], {"rows": [1]}, "rows is [1]: it must be entries by name."),
        (["FILE"], {"rows": {}}, "it has no rows."),
        (["FILE"], {"base": None}, "base is null"),
        (["FILE"], {"scaled": "epochs"}, "scaled is 'epochs': it must be a list of texts."),
        (["FILE"], {"scaled": ["epoch"]}, "is not a table: 'epoch' is no argument of a run"),
        (["FILE"], {"scaled": ["data"]}, "data is 'digits': it must be a number"),
        (["FILE"], {"paper": 3}, "paper is 3: it must be a text."),
        (["FILE"], {"num_samples": "x"}, "num_samples is 'x'"),
        (["FILE"], {"items": -1}, "items is -1"),
        (["FILE"], {"more": 1}, "it has an entry 'more'"),
        (["FILE"], {"metric": "beauty"}, "There is no metric"),
        (["FILE", "--rows", "four"], {}, "has no row"),
        (["FILE", "--rows", "[]"], {}, "--rows is empty"),
        (["FILE"], {"base": {"epochs": 0}, "scaled": []}, "epochs is 0"),
        (["FILE", "--rows", "two"], {"base": {"data": "none.npy"}}, "none.npy"),
        (["FILE", "--rows", "[two, four]"], {}, "has no row"),
        (["FILE", "--budget", "0"], {}, "budget is 0"),
        (["FILE", "--budget", "2"], {}, "budget is 2"),
        (["FILE", "--seeds", "0"], {}, "seeds is 0"),
        (["FILE"], {"base": {"epoch": 3}}, "no argument of a run"),
    ],
)
def test_refused_in_one_sentence(argv, changes, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, **changes)
    with pytest.raises(SystemExit) as stopped:
        main(["reproduce", *(path if word == "FILE" else word for word in argv)])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "studies").exists()
