import csv
import importlib
import json
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import pvae
from pvae.cli import gallery, reports, scores
from pvae.cli.main import main
from pvae.cli.run_io import choose_label
from pvae.data import Dataset, Part, image_folder
from pvae.evaluation import (
    Bidirectional,
    anomaly_score,
    evaluate,
    evidence,
    log_likelihood,
    roc,
)
from pvae.evaluation.results import interval

FEW = ["--items", "5", "--num_samples", "20"]

VARIANTS = {
    "binary": {},
    "labelled": {"conditional": True, "classes": 10},
    "discrete": {"prior": pvae.priors.OneHot, "posterior": pvae.posteriors.RelaxedOneHot},
    "codes": {
        "prior": pvae.priors.UniformCodes,
        "posterior": partial(pvae.posteriors.VQ, codes=8),
    },
    "point": {"posterior": pvae.posteriors.Delta},
    "relaxed": {"likelihood": partial(pvae.likelihoods.Bernoulli, relaxed=True)},
    "bytes": {"likelihood": partial(pvae.likelihoods.DiscretizedLogistic, levels=17)},
    "dequantized": {"likelihood": pvae.likelihoods.Gaussian},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(evidence, "PLANS", [(25, 2, 3)])
    monkeypatch.setattr(evidence, "PARETO_SAMPLES", 50)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders by the name of a variant, each trained when it is first asked for."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def make(name):
        if name not in made:
            made[name] = fitted(pvae.data.load("digits"), root / name, **VARIANTS[name])
        return made[name]

    return make


def fitted(data, path, **parts):
    network = partial(pvae.networks.MLP, hidden=[16])
    vae = pvae.build(data.event_shape, latent_dim=2, network=network, **parts)
    size = min(128, len(data.train))
    pvae.fit(vae, data, epochs=1, batch_size=size, run=path, progress=False, compile=False)
    return path


def called(capsys, *argv):
    """What a command prints."""
    main(list(map(str, argv)))
    return capsys.readouterr().out


def refused(capsys, *argv):
    """The one line that a command leaves when it is refused."""
    with pytest.raises(SystemExit) as raised:
        main(list(map(str, argv)))
    err = capsys.readouterr().err
    assert raised.value.code == 2, err
    assert err.startswith("pvae: error: ")
    assert err.count("\n") == 1
    return err


def record_of(run, name="evaluation.json"):
    """A JSON file of a run, which holds no NaN: JSON does not know it."""

    def unknown(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((run / name).read_text(), parse_constant=unknown)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# evaluate -----------------------------------------------------------------------------------------


def test_evaluate_names_all_that_its_figures_depend_on(runs, capsys):
    run = runs("binary")
    out = called(capsys, "evaluate", run, *FEW, "--seed", 3)
    record = record_of(run)
    settings = {"data": "digits", "domain": "binary", "binarization": "dynamic", "seed": 3}
    assert record.items() >= (settings | {"samples": 1}).items()
    assert {p: f["items"] for p, f in record["parts"].items()} == {
        "train": 1437,
        "validation": 180,
        "test": 180,
    }
    assert record["evidence"].items() >= (settings | {"part": "test"}).items()
    importance, ais = record["evidence"]["importance"], record["evidence"]["ais"]
    assert (importance["items"], importance["num_samples"]) == (5, 20)
    assert (importance["latents"], importance["pareto_k_above_0.7"]) == (2, None)  # of 20 samples
    assert (ais["items"], ais["num_chains"], ais["num_steps"]) == (5, 2, 3)

    header, columns, *parts = out.split("\n\n")[0].splitlines()
    assert header == "digits: nats per datum, dynamic binarization, seed 3, 1 sample of z"
    assert columns.split() == ["part", "items", "−ELBO", "E[log", "p(x|z)]", "KL(q||p)"]
    assert [row.split()[0] for row in parts] == ["train", "validation", "test"]
    assert f"{record['parts']['test']['neg_elbo']:.3f}" in parts[-1]
    header, *lines = out.split("\n\n")[1].splitlines()
    assert header == "digits: nats per datum, dynamic binarization, seed 3, test"
    assert lines[0].startswith("log p(x), 5 items, 20 importance samples ")
    assert lines[0].endswith(
        f" {importance['log_likelihood']:.3f} ± {importance['standard_error']:.3f} (samples) "
        f"± {importance['standard_error_of_data']:.3f} (items)"
    )
    assert any("AIS, 2 chains of 3 steps" in line for line in lines)
    assert any("sandwich on 5 data drawn from the model" in line for line in lines)


def test_the_figures_are_those_of_the_estimators(runs, capsys):
    run = runs("binary")
    called(capsys, "evaluate", run, *FEW, "--estimator", "importance")
    record, vae, data = record_of(run), pvae.load(run), pvae.data.load("digits")
    assert "ais" not in record["evidence"]
    assert record["parts"]["test"] == {"items": 180, **evaluate(vae, data)}
    x = data.batch(vae, "test", n=5)
    found = log_likelihood(vae, x, num_samples=20)
    importance = record["evidence"]["importance"]
    assert importance["log_likelihood"] == pytest.approx(found.log_prob.mean().item())
    assert importance["standard_error"] == pytest.approx(
        found.standard_error.square().sum().sqrt().item() / 5
    )
    assert importance["standard_error_of_data"] == pytest.approx(
        found.log_prob.std().item() / 5**0.5
    )


def test_a_seed_repeats_a_record(runs, capsys):
    run, records = runs("binary"), []
    for seed in (1, 1, 2):
        called(capsys, "evaluate", run, *FEW, "--seed", seed)
        records.append((run / "evaluation.json").read_bytes())
    assert records[0] == records[1] != records[2]


def test_one_part_one_estimator(runs, capsys):
    run = runs("binary")
    out = called(capsys, "evaluate", run, "--part", "validation", "--estimator", "elbo")
    assert record_of(run)["parts"].keys() == {"validation"}
    assert "evidence" not in record_of(run)
    assert "log p(x)," not in out
    called(capsys, "evaluate", run, "--part", "train", "--estimator", "ais", *FEW)
    assert record_of(run)["evidence"]["part"] == "train"
    assert "importance" not in record_of(run)["evidence"]


def test_all_items_where_there_are_fewer(runs, capsys, tmp_path):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).random((7, 8, 8)))
    few = ["--data", tmp_path / "few.npy", "--num_samples", "5", "--estimator", "importance"]
    outs = [called(capsys, "evaluate", runs("binary"), *few, "--items", n) for n in ("all", 9)]
    assert outs[0] == outs[1]
    assert "log p(x), 7 items, 5 importance samples" in outs[0]


def test_errors_unknown_from_one_item_or_sample_are_left_out(runs, capsys):
    run = runs("binary")
    out = called(capsys, "evaluate", run, "--items", "1", "--num_samples", "1")
    importance, ais = (record_of(run)["evidence"][key] for key in ("importance", "ais"))
    assert importance["standard_error"] is importance["standard_error_of_data"] is None
    assert ais["standard_error_of_data"] is ais["sandwich"]["gap_standard_error"] is None
    assert "active_units" not in importance
    assert "nan" not in out
    assert "±" not in out


def test_other_data_are_not_written_into_the_run(runs, capsys, tmp_path):
    run = runs("binary")
    called(capsys, "evaluate", run, "--estimator", "elbo")
    called(capsys, "compress", run)
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    np.save(tmp_path / "other.npy", np.random.default_rng(0).random((30, 8, 8)))
    out = called(capsys, "evaluate", run, "--data", tmp_path / "other.npy", *FEW)
    assert "other: nats per datum" in out
    out = called(capsys, "compress", run, "--data", tmp_path / "other.npy")
    assert "other: bits, dynamic binarization, seed 0, train, 30 items" in out
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before


def test_discrete_latents_have_no_gradients_to_anneal_along(runs, capsys):
    run = runs("discrete")
    out = called(capsys, "evaluate", run, *FEW)
    assert "No estimate by AIS: The prior OneHot is not over real numbers" in out
    record = record_of(run)["evidence"]
    assert "OneHot" in record["ais"]["not_applicable"]
    assert record["importance"]["items"] == 5
    assert "The prior OneHot" in refused(capsys, "evaluate", run, *FEW, "--estimator", "ais")
    assert len(rows_of_score(capsys, run)) == 180


def test_draws_of_a_point_mass_cannot_be_weighed(runs, capsys):
    run = runs("point")
    out = called(capsys, "evaluate", run, *FEW)
    assert "No estimate by importance sampling: The posterior Delta is a point mass" in out
    evidence = record_of(run)["evidence"]
    assert "Delta" in evidence["importance"]["not_applicable"]
    assert evidence["ais"]["sandwich"]["importance"] is None
    assert "Delta" in refused(capsys, "evaluate", run, *FEW, "--estimator", "importance")
    assert "Delta" in refused(capsys, "score", run)


def test_codes_are_counted(runs, capsys):
    run = runs("codes")
    out = called(capsys, "evaluate", run, *FEW)
    assert "codes used" in out
    figures = record_of(run)["parts"]["test"]
    assert 1 / 8 <= figures["code_usage"] <= 1
    assert 1 <= figures["code_perplexity"] <= 8
    assert "the length of a code" in out
    assert "single code" in refused(capsys, "score", run)


@pytest.mark.parametrize("correction", [None, "waic", "disagreement"])
def test_the_columns_of_scores_are_aligned(correction):
    data, vae = pvae.data.load("digits"), pvae.build((1, 8, 8), 2)
    found = anomaly_score(vae, data.batch(vae, "test", n=4), num_samples=2)
    table = scores.table(vae, data, "test", found, correction, 2, seed=0)
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


def test_without_a_density_there_is_no_evidence(runs, capsys):
    run = runs("relaxed")
    out = called(capsys, "evaluate", run, *FEW)
    assert out.count("Bernoulli(relaxed=True) is a reconstruction loss and no density") == 2
    record = record_of(run)
    assert record["binarization"] is None
    assert "bits_per_dim" not in record["parts"]["test"]
    assert "relaxed=True" in refused(capsys, "score", run)
    assert "a code length needs" in refused(capsys, "compress", run)


@pytest.mark.parametrize("name", ["bytes", "dequantized"])
def test_bytes_in_bits_per_dimension(runs, capsys, name):
    run = runs(name)
    out = called(capsys, "evaluate", run, *FEW)
    record = record_of(run)
    offset = 0 if name == "bytes" else np.log2(17)
    figures = [record["parts"]["test"], record["evidence"]["importance"], record["evidence"]["ais"]]
    for found in figures:
        nats = found.get("neg_elbo", -found["log_likelihood"])
        assert found["bits_per_dim"] == pytest.approx(nats / 64 / np.log(2) + offset)
    assert "bits/dim" in out
    assert out.count("  bits per dimension") == 2
    called(capsys, "compress", run)
    code = record_of(run, "compression.json")["neg_elbo"]
    assert code["bits_per_dim"] == pytest.approx(figures[0]["bits_per_dim"], rel=1e-6)
    assert code["bits"] == pytest.approx(64 * code["bits_per_dim"])


def test_counts_in_vectors_without_a_test_part(capsys, tmp_path):
    path = tmp_path / "counts.npy"
    np.save(path, np.random.default_rng(0).poisson(20, (60, 6)))
    data = pvae.data.load(path, validation=0, test=0)
    run = fitted(data, tmp_path / "run", likelihood=pvae.likelihoods.Poisson)
    called(capsys, "evaluate", run, *FEW)
    record = record_of(run)
    assert record["parts"].keys() == {"train"}
    assert record["evidence"]["part"] == "train"
    assert "bits_per_dim" not in record["evidence"]["importance"]
    rows = rows_of_score(capsys, run)
    assert rows[0].keys() == {"item", "log_prob", "score"}
    assert len(rows) == 60
    assert "Poisson is over counts" in refused(capsys, "compress", run)
    assert "no test part" in refused(capsys, "evaluate", run, "--part", "test")
    assert "no test part" in refused(capsys, "score", run, "--part", "test")
    assert "no classes" in refused(capsys, "score", run, "--anomalous", "[1]")


def test_importance_sampling_is_compared_given_the_same_total_alone():
    x = torch.randint(1, 9, (3, 6)).float()
    for exposure in (None, "observed"):
        likelihood = partial(pvae.likelihoods.Poisson, exposure=exposure)
        vae = pvae.build((6,), 2, likelihood=likelihood)
        sandwich = evidence.annealed(vae, x, None, seed=0)["sandwich"]
        if exposure != "observed":
            excess = sandwich["importance"] - sandwich["upper"]
            assert sandwich["excess"] == pytest.approx(excess, abs=1e-4)
            assert sandwich["excess_standard_error"] > 0
        assert (sandwich["importance"] is None) == (exposure == "observed")


# Labels -------------------------------------------------------------------------------------------


def test_a_conditional_run_in_all_three_commands(runs, capsys, tmp_path):
    run = runs("labelled")
    called(capsys, "evaluate", run, *FEW)
    record, vae, data = record_of(run), pvae.load(run), pvae.data.load("digits")
    x, y = data.batch(vae, "test", n=5)
    found = log_likelihood(vae, x, y, num_samples=20).log_prob.mean().item()
    assert record["evidence"]["importance"]["log_likelihood"] == pytest.approx(found)
    assert record["evidence"]["ais"]["sandwich"]["items"] == 5
    rows = rows_of_score(capsys, run, "--correction", "typicality")
    assert [int(row["label"]) for row in rows] == data.test.y.tolist()
    called(capsys, "compress", run)
    assert record_of(run, "compression.json")["neg_elbo"]["bits"] > 0

    x = np.random.default_rng(0).random((4, 8, 8))
    np.savez(tmp_path / "labelled.npz", x=x, y=[0, 1, 2, 9])
    np.savez(tmp_path / "others.npz", x=x, y=[0, 1, 2, 10])
    np.save(tmp_path / "none.npy", x)
    for command in ("evaluate", "score", "compress"):
        given = [command, run, "--data"]
        options = FEW if command == "evaluate" else []
        called(capsys, *given, tmp_path / "labelled.npz", *options)
        said = refused(capsys, *given, tmp_path / "others.npz", *options)
        assert "whole numbers from 0 to 9" in said
        said = refused(capsys, *given, tmp_path / "none.npy", *options)
        assert "none.npy has no labels, which this conditional run needs: give an .npz" in said


def test_classes_of_other_data_are_known_by_name(runs, capsys, tmp_path):
    run, x = runs("labelled"), np.random.default_rng(0).random((4, 8, 8))
    found = {}
    for name, y in {"numbers": [9, 2, 2, 9], "names": ["9", "2", "2", "9"]}.items():
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
        out = tmp_path / f"{name}.csv"
        called(capsys, "score", run, "--data", tmp_path / f"{name}.npz", "--out", out)
        found[name] = rows_of(out)
    assert [row["log_prob"] for row in found["names"]] == [
        row["log_prob"] for row in found["numbers"]
    ]
    np.savez(tmp_path / "unknown.npz", x=x, y=["9", "2", "2", "ten"])
    said = refused(capsys, "score", run, "--data", tmp_path / "unknown.npz")
    assert "have a class 'ten', which is none of those trained on: 0, 1, 2, " in said


# score --------------------------------------------------------------------------------------------


def rows_of_score(capsys, run, *argv):
    called(capsys, "score", run, "--num_samples", "5", *argv)
    return rows_of(run / "scores.csv")


def test_scores_of_an_array(runs, capsys):
    run = runs("binary")
    vae, data = pvae.load(run), pvae.data.load("digits")
    x = gallery.head(vae, data, 180)[0]
    for correction, given in (
        (None, {}),
        ("complexity", {}),
        ("typicality", {"reference": gallery.head(vae, data, 1000, "train")}),
    ):
        rows = rows_of_score(capsys, run, *(["--correction", correction] if correction else []))
        assert list(rows[0]) == ["item", "log_prob", "score", "label"]
        assert [int(row["item"]) for row in rows] == list(range(180))
        found = anomaly_score(vae, x, num_samples=5, correction=correction, **given)
        for name, values in (("score", found.score), ("log_prob", found.log_prob)):
            assert [float(row[name]) for row in rows] == pytest.approx(values.tolist())


def test_the_table_of_scores(runs, capsys, tmp_path):
    path = tmp_path / "new" / "folder" / "s.csv"
    out = called(capsys, "score", runs("binary"), "--num_samples", "5", "--out", path)
    header, _, evidence, score, last = out.splitlines()
    assert header == (
        "digits: nats per datum, dynamic binarization, seed 0, test, 180 items, 5 importance "
        "samples"
    )
    values = torch.tensor([float(row["score"]) for row in rows_of(path)])
    quartiles = values.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    assert score.split()[2:] == [f"{q:.3f}" for q in quartiles]
    assert evidence.split()[2:] == [f"{-q:.3f}" for q in reversed(quartiles)]
    assert last == str(path)


def test_another_run_as_background(runs, capsys):
    plain = [float(row["log_prob"]) for row in rows_of_score(capsys, runs("binary"))]
    background = ["--correction", "background", "--background", runs("discrete")]
    rows = rows_of_score(capsys, runs("binary"), *background)
    general = [float(row["log_prob"]) for row in rows_of_score(capsys, runs("discrete"))]
    expected = np.subtract(general, plain)
    assert [float(row["score"]) for row in rows] == pytest.approx(expected, abs=1e-4)
    for given in (background[:2], background[2:]):
        assert "go together" in refused(capsys, "score", runs("binary"), *given)
    nowhere = [*background[:3], "nowhere"]
    assert "no run folder nowhere" in refused(capsys, "score", runs("binary"), *nowhere)


def test_anomalies_are_separated_from_normal_data(runs, capsys):
    run = runs("binary")
    out = called(capsys, "score", run, "--num_samples", "5", "--anomalous", "[0, 3]")
    rows = rows_of(run / "scores.csv")
    assert [row["anomalous"] == "1" for row in rows] == [row["label"] in "03" for row in rows]
    score = torch.tensor([float(row["score"]) for row in rows], dtype=torch.float64)
    area = roc(score, torch.tensor([int(row["anomalous"]) for row in rows])).area
    many = sum(row["anomalous"] == "1" for row in rows)
    assert f"AUROC {area:.4f}, {many} anomalies of 180 items" in out
    assert (run / "figures" / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_other_data_leave_those_of_the_run(runs, capsys, tmp_path):
    run = runs("binary")
    called(capsys, "score", run, "--num_samples", "5", "--anomalous", "3")
    before = {p: p.read_bytes() for p in (run / "scores.csv", run / "figures" / "roc.png")}
    x = np.random.default_rng(0).random((6, 8, 8))
    np.savez(tmp_path / "other.npz", x=x, y=[0, 1, 1, 0, 1, 1])
    given = ["--data", tmp_path / "other.npz", "--num_samples", "5", "--anomalous", "1"]
    for said in ("", ", in place of an earlier one"):
        *_, picture, table = called(capsys, "score", run, *given).splitlines()
        assert picture == str(run / "figures" / "roc-other.png")
        assert table == f"{run / 'scores-other.csv'}{said}"
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("[10]", "There is no label '10': choose from 0, 1, 2"),
        ("cat", "There is no label 'cat': choose from 0, 1, 2"),
        ("0,3", "There is no label '0,3': choose from 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; several go"),
        ("[-1]", "There is no label '-1'"),
        ("[]", "0 of the 180 items are anomalous"),
        ("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "180 of the 180 items are anomalous"),
    ],
)
def test_impossible_anomalies_are_refused_before_anything(runs, capsys, labels, sentence):
    run = runs("binary")
    held = [path.stat().st_mtime_ns for path in sorted(run.rglob("*"))]
    assert sentence in refused(capsys, "score", run, "--anomalous", labels)
    assert [path.stat().st_mtime_ns for path in sorted(run.rglob("*"))] == held


def test_members_by_number_and_by_name():
    y = torch.tensor([0, 2, 1, 2])
    data = Dataset("some", Part(torch.zeros(4, 1), y), "reals", (0, 1), classes=("a", "b", "c"))
    for labels in ([2, 1], ["c", "b"], ["2", "b"]):
        assert scores.members(data, data.train, labels).tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="choose from 0, 1, 2, a, b, c"):
        scores.members(data, data.train, ["d"])
    for y in (None, torch.zeros(4, 2)):
        with pytest.raises(ValueError, match="have no classes"):
            scores.members(data, Part(torch.zeros(4, 1), y), [0])


def test_scores_of_a_folder_by_file(capsys, tmp_path, monkeypatch):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(15):
        for name, high in (("dark", 100), ("bright", 256)):
            path = tmp_path / "images" / name / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(high // 2, high, (8, 8)).astype(np.uint8)).save(path)
    monkeypatch.setattr(image_folder, "RESIDENT_LIMIT", 0)  # decoded as they are drawn
    run = fitted(pvae.data.load(tmp_path / "images"), tmp_path / "run")
    called(capsys, "score", run, "--part", "train", "--anomalous", "[bright]")
    rows = rows_of(run / "scores.csv")
    assert list(rows[0]) == ["item", "log_prob", "score", "label", "anomalous"]
    assert len(rows) == 24
    for row in rows:
        name = "bright" if row["anomalous"] == "1" else "dark"
        assert Path(row["item"]).parent == tmp_path / "images" / name
    assert called(capsys, "evaluate", run, *FEW).startswith("images: nats per datum")
    assert "images: bits, dynamic binarization, seed 0, test, 3 items" in called(
        capsys, "compress", run
    )


def test_scores_are_a_table(runs, capsys, tmp_path):
    said = refused(capsys, "score", runs("binary"), "--out", tmp_path / "s.txt")
    assert "choose a file s.csv" in said
    (tmp_path / "file").touch()
    said = refused(capsys, "score", runs("binary"), "--out", tmp_path / "file" / "s.csv")
    assert "could not be written" in said


# compress -----------------------------------------------------------------------------------------


def test_compress_names_all_that_its_figures_depend_on(runs, capsys):
    run = runs("binary")
    out = called(capsys, "compress", run, "--seed", "4")
    record = record_of(run, "compression.json")
    settings = {"data": "digits", "domain": "binary", "binarization": "dynamic", "seed": 4}
    assert record.items() >= (settings | {"part": "test", "items": 180, "samples": 1}).items()
    bound = evaluate(pvae.load(run), pvae.data.load("digits"), seed=4)["neg_elbo"]
    assert record["neg_elbo"]["bits"] == pytest.approx(bound / np.log(2))
    header, _, *rows = out.splitlines()
    assert header == "digits: bits, dynamic binarization, seed 4, test, 180 items"
    codes = [record[key] for key in ("neg_elbo", "png", "gzip", "png_files", "gzip_files")]
    cells = [[f"{code['bits']:.1f}", f"{code['bits_per_dim']:.3f}"] for code in codes]
    assert [row.split()[-2:] for row in rows] == cells


def test_compress_the_part_that_there_is(runs, capsys, tmp_path):
    x = np.random.default_rng(0).random((9, 8, 8))
    np.savez(tmp_path / "parts.npz", x_train=x, x_validation=x[:4])
    data = ["--data", tmp_path / "parts.npz"]
    assert "validation, 4 items" in called(capsys, "compress", runs("binary"), *data)
    out = called(capsys, "compress", runs("binary"), *data, "--part", "train")
    assert "train, 9 items" in out
    assert "no test part" in refused(capsys, "compress", runs("binary"), *data, "--part", "test")


# Classes by name ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tissues(tmp_path_factory):
    """A run on classes with names, whose likelihood alone sees them."""
    root = tmp_path_factory.mktemp("tissues")
    x = np.random.default_rng(0).random((60, 8, 8))
    np.savez(root / "tissues.npz", x=x, y=np.array(["benign", "malignant", "unclear"] * 20))
    np.savez(root / "others.npz", x=x, y=np.array(["benign", "healthy", "ill"] * 20))
    np.save(root / "none.npy", x)
    data = pvae.data.load(root / "tissues.npz")
    fitted(data, root / "run", conditional=["likelihood"], classes=3)
    fitted(data, root / "seen", conditional=True, classes=3)
    return root


def test_classes_are_drawn_by_name(tissues, capsys, tmp_path):
    run, found = tissues / "run", []
    for label in ("malignant", "1"):
        out = tmp_path / f"{label}.npy"
        called(capsys, "sample", run, "--label", label, "--n", 4, "--out", out)
        found.append(np.load(out))
    assert (found[0] == found[1]).all()
    vae = pvae.load(run)
    assert torch.equal(vae.sample(4, "malignant", seed=0), torch.as_tensor(found[0]))
    assert torch.equal(vae.sample(2, ["unclear", "benign"], seed=0), vae.sample(2, [2, 0], seed=0))
    said = refused(capsys, "sample", run, "--label", "malign")
    assert "There is no class 'malign': the names are benign, malignant, unclear." in said
    said = refused(capsys, "sample", run, "--label", "3")
    assert "--label 3 is not a class of this run" in said
    assert "whole number from 0 to 2, or names: benign, malignant, unclear." in said


def test_samples_are_named_by_their_class(tissues, capsys, monkeypatch):
    seen = {}
    draw = pvae.plots.samples
    monkeypatch.setattr(
        pvae.plots, "samples", lambda x, **options: seen.update(options) or draw(x, **options)
    )
    called(capsys, "sample", tissues / "run", "--label", "unclear", "--n", 4)
    assert seen["labels"] == ["unclear"] * 4
    figure = draw(torch.rand(4, 1, 8, 8), labels=["a", "a", "b", "c"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", ""]


@pytest.mark.parametrize(
    ("classes", "shown", "rows", "title"),
    [(2, 2, 4, ""), (10, 10, 1, ""), (40, 16, 1, "the first 16 of 40 classes")],
)
def test_samples_have_rows_of_every_class(classes, shown, rows, title):
    vae = pvae.build((1, 8, 8), 2, conditional=True, classes=classes)
    found = gallery.drawn(vae, None, 64)
    figure = pvae.plots.samples(**found)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [str(k) for k in range(shown) for _ in range(rows)]
    assert figure.get_suptitle() == title
    y = torch.arange(shown).repeat_interleave(8 * rows)
    assert torch.equal(found["x"], vae.sample(len(y), y, seed=0))
    # The command draws as many as it is asked for, whole rows of each class.
    y = choose_label(vae, None, 64)
    rows = y.split(gallery.columns_by_class(vae, classes, 64))
    assert all((row == row[0]).all() for row in rows)
    assert {*y.tolist()} == {*range(classes)}


def test_labels_are_required_only_if_a_part_sees_them(tissues, capsys, tmp_path):
    for name in ("others.npz", "none.npy"):
        given = ["--data", tissues / name, "--out", tmp_path / "z.npz"]
        called(capsys, "encode", tissues / "run", *given)
        assert np.load(tmp_path / "z.npz")["mean"].shape == (60, 2)
        said = refused(capsys, "encode", tissues / "seen", *given)
        assert ("class 'healthy'" if name == "others.npz" else "labels") in said
        assert refused(capsys, "score", tissues / "run", "--data", tissues / name)
    # The labels of a part that is not used are not checked.
    x = np.random.default_rng(0).random((6, 8, 8))
    y = {"y_train": ["ill"] * 6, "y_test": ["malignant", "benign"] * 3}
    np.savez(tmp_path / "parts.npz", x_train=x, x_test=x, **y)
    given = ["--data", tmp_path / "parts.npz", "--out", tmp_path / "s.csv"]
    called(capsys, "score", tissues / "seen", *given)
    assert len(rows_of(tmp_path / "s.csv")) == 6
    assert "class 'ill'" in refused(capsys, "score", tissues / "seen", *given, "--part", "train")


def test_pictures_of_other_data_have_their_own_folder(tissues, capsys):
    run = tissues / "run"
    before = {p: p.read_bytes() for p in run.rglob("*.png")}
    out = called(capsys, "plot", run, "--data", tissues / "tissues.npz")
    assert str(run / "figures" / "tissues" / "reconstructions.png") in out
    assert {p: p.read_bytes() for p in before} == before


# Missing errors, and time -------------------------------------------------------------------------


def test_where_k_hat_fails_there_is_no_error(tmp_path, capsys):
    x = np.random.default_rng(0).poisson(20, (60, 200))
    np.save(tmp_path / "counts.npy", x)
    data = pvae.data.load(tmp_path / "counts.npy", validation=0)
    run = fitted(data, tmp_path / "run", likelihood=pvae.likelihoods.Poisson)
    out = called(capsys, "evaluate", run, "--items", "6", "--num_samples", "200")
    record = record_of(run)["evidence"]
    assert list(record)[-3:] == ["importance", "ais", "best"]
    assert record["importance"]["standard_error"] is None
    assert record["importance"]["pareto_k_above_0.7"] > 0.05
    lines = out.splitlines()
    importance = next(line for line in lines if "200 importance samples" in line)
    assert "a lower bound, its error unknown" in importance
    assert "(samples)" not in importance
    assert out.index("200 importance samples") < out.index("sandwich")
    assert "k-hat is above 0.7 for 100 % of the items, so both estimates are lower bounds" in out
    assert "k-hat is above 0.7 for 100.0 % of the items" in called(capsys, "score", run)
    vae = pvae.load(run)
    found = log_likelihood(vae, data.batch(vae, n=6), num_samples=200)
    assert "a lower bound, its error unknown" in repr(found)
    assert found.standard_error[found.pareto_k > 0.7].isnan().all()


def test_bounds_that_cross_are_equal_within_error():
    assert interval(-3.0, -2.0, 0.5) == "-3.000 to -2.000, gap 1.000 ± 0.500"
    said = interval(-2.0, -3.0, 0.5)
    assert said == "-2.500, bounds equal within error (gap -1.000 ± 0.500)"
    bounds, gap = torch.tensor([-2.0, -2.5]), torch.tensor([-0.3, 0.1])
    found = Bidirectional(bounds, bounds + gap, gap, torch.ones(2, 3))
    assert "bounds equal within error" in repr(found)


def test_estimates_omitted_for_lack_of_time_are_named(runs, capsys, monkeypatch):
    run = runs("binary")
    monkeypatch.setattr(evidence, "PLANS", [(2, 2, 3)])
    with monkeypatch.context() as patched:
        patched.setattr(evidence._Annealer, "extend", lambda self: None)
        out = called(capsys, "evaluate", run, *FEW, "--estimator", "ais")
    assert "log p(x), 2 items, AIS, 2 chains of 3 steps" in out
    assert "Left out for lack of time: AIS of 3 of 5 items; allow more by --seconds" in out
    monkeypatch.setattr(evidence, "PLANS", [(2, 2, 10**6)])
    out = called(capsys, "evaluate", run, *FEW)
    assert "No estimate by AIS: its shortest run takes longer than the " in out
    assert "Best estimate of log p(x): " in out
    assert "It is by importance sampling of 5 items: it is the only estimate." in out
    assert record_of(run)["evidence"]["importance"]["items"] == 5
    called(capsys, "evaluate", run, *FEW, "--estimator", "ais")
    assert "best" not in record_of(run)["evidence"]


def test_ctrl_c_keeps_what_is_done(runs, capsys, monkeypatch):
    run = runs("binary")

    def interrupt(plan):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(evidence._Annealer, "extend", interrupt)
    monkeypatch.setattr(evidence, "PLANS", [(2, 2, 3)])
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(run), *FEW])
    assert ended.value.code == 130
    out = capsys.readouterr().out
    assert "log p(x), 2 items, AIS, 2 chains of 3 steps" in out
    assert "Best estimate of log p(x)" in out
    assert record_of(run)["evidence"].keys() >= {"importance", "ais", "best"}
    whole = evidence.is_reliable

    def late(*given):
        interrupt(None)
        return whole(*given)

    monkeypatch.setattr(reports, "is_reliable", late)
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), *FEW])
    assert "No estimate by AIS: it was stopped." in capsys.readouterr().out
    assert "importance" in record_of(run)["evidence"]


def annealed(error_of_data=None, asked=9, num_chains=2, **sandwich):
    """The lines about two items, with a sandwich from -5 to -1.9."""
    found = {"lower": -5.0, "upper": -1.9, "gap": 3.1, "gap_standard_error": 0.1}
    found |= {"items": 2, "importance": None, "excess": None, "excess_standard_error": None}
    common = {"items": 2, "asked": asked, "num_steps": 3, "log_likelihood": -3.0}
    common |= {"num_chains": num_chains}
    errors = {"standard_error": None, "standard_error_of_data": error_of_data}
    ais = common | errors | {"sandwich": found | sandwich}
    return reports.evidence_lines({"seconds": 50.0, "ais": ais}, 42.3)


def test_a_wide_sandwich_says_what_a_narrower_one_costs():
    for lines in (annealed(), annealed(error_of_data=1.2)):
        text = "\n".join(lines)
        assert "a gap of 3.1 nats: to halve it, about" in text
        assert "double the steps: --seconds 100" in text
        assert lines[-1].split() == ["time", "taken", "42", "s"]


@pytest.mark.parametrize("errors", [{"error_of_data": 12.4}, {"gap_standard_error": 12.4}])
def test_where_the_error_exceeds_the_gap_more_items_are_proposed(errors):
    text = "\n".join(annealed(**errors))
    assert "double the steps" not in text
    assert "an error of 12.4 nats by few items: to halve it," in text
    assert "four times the items: --seconds 200" in text
    assert "to halve it" not in "\n".join(annealed(**errors, asked=2))  # there are no more


def test_bounds_that_cross_propose_more_chains():
    found = {"lower": -1.9, "upper": -5.0, "gap": -3.1}
    text = "\n".join(annealed(**found))
    assert "more chains are needed" in text
    assert "for more chains, " in text
    assert "double the time: --seconds 100" in text
    for others in ({"gap_standard_error": 1.1}, {"num_chains": 16}):  # there are no more
        assert "for more chains" not in "\n".join(annealed(**found, **others))


@pytest.mark.parametrize(
    ("importance", "excess", "error", "said"),
    [
        (-3.0, -1.1, 0.2, "-3.000"),
        (
            -1.7,
            0.2,
            0.3,
            "-1.700, 0.200 ± 0.300 above the sandwich: they agree within their errors",
        ),
        (-1.7, 0.2, None, "-1.700, 0.200 above the sandwich"),
        (-1.0, 0.9, 0.3, "-1.000, 0.900 ± 0.300 above the sandwich"),
        (-7.0, -5.1, 0.3, "-7.000, 2.0 nats below the sandwich"),
    ],
)
def test_importance_sampling_beside_the_sandwich(importance, excess, error, said):
    found = {"importance": importance, "excess": excess, "excess_standard_error": error}
    (line,) = (line for line in annealed(**found) if "importance samples" in line)
    assert line.endswith(f" {said}")


def test_the_best_estimate_is_named_at_the_end(runs, capsys):
    run = runs("binary")
    out = called(capsys, "evaluate", run, *FEW, "--num_samples", "25")
    record = record_of(run)["evidence"]
    best, reason = out.split("\n\n")[-1].splitlines()
    chosen = record[record["best"]["estimator"]]
    assert best.startswith(f"Best estimate of log p(x): {chosen['log_likelihood']:.3f}")
    assert reason.endswith(f" of 5 items: {record['best']['reason']}.")
    assert "log_prob" not in chosen


def test_a_time_limit_scores_the_first_data(vae, x, monkeypatch):
    module = importlib.import_module("pvae.evaluation.log_likelihood")  # not its function
    monkeypatch.setattr(module, "_CACHED", 1e-6)  # a datum at a time
    found = log_likelihood(vae, x, num_samples=10, seconds=1e-9)
    assert len(found.log_prob) == 1
    assert torch.equal(found.log_prob, log_likelihood(vae, x, num_samples=10).log_prob[:1])
