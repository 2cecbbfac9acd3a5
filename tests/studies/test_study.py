import concurrent.futures
import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pvae
from pvae.cli.main import main
from pvae.storage import configuration, files
from pvae.storage.lock import lock
from pvae.studies import Measures, Plan, Study, collect, compare
from pvae.studies.arguments import defaults
from pvae.studies.jobs import pack, read_measures, run_job, token_of, unpack, write_measures
from pvae.studies.metrics import Measured
from pvae.studies.study import MOST_VALUES
from pvae.studies.worker import WORKERS, WorkerDied, _environment, _log
from tests.storage.test_configuration import LAUGHS
from tests.studies.futures import done

OURS = sorted((Path(__file__).parents[2] / "results" / "studies").glob("*.yaml"))
HUGE = ("latent_dim", "epochs", "batch_size", "warmup")
SMALL = {"epochs": 2, "network": {"class_path": "MLP", "init_args": {"hidden": [8]}}}
QUICK = Measures(metrics=("neg_elbo", "log_prob", "active_units"), num_samples=30, items=30)


def plan(vary=None, seeds=2, **others):
    return Plan.make(SMALL, vary or {"latent_dim": [2, 3]}, seeds, measures=QUICK, **others)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study whose third cell fails, run by one worker process."""
    study = Study(tmp_path_factory.mktemp("study") / "latents", plan({"latent_dim": [2, 3, 0]}))
    study.run(show=False)
    return study


def weights(study):
    return {
        job.place: (study.path / job.place / "weights.safetensors").read_bytes()
        for job in study.jobs()
        if study.measured(job)
    }


def test_each_run_is_a_run_folder(finished):
    job = finished.jobs()[0]
    log = (finished.path / job.place).with_suffix(".log").read_text()
    assert log.splitlines()[-1] == "measuring neg_elbo, log_prob, active_units"
    vae = pvae.load(finished.path / job.place)
    assert vae.latent_shape == (2,)
    measured = finished.measured(job)
    assert measured.items["neg_elbo"].shape == (30,)
    assert measured.numbers["steps"] == 24


def test_a_run_that_fails_is_a_row_with_its_sentence(finished):
    results = collect(finished)
    two, three, none = results.cells
    assert two.seeds == three.seeds == (0, 1)
    assert none.seeds == ()
    assert "latent_dim is 0" in none.failures[0]
    assert np.isnan(none.estimates["neg_elbo"].mean)
    compared = {(c.metric, c.cell, c.reference) for c in results.comparisons}
    assert len(compared) == 2
    assert {c.verdict for c in results.comparisons} <= {"better", "worse", "undecided"}
    assert all(
        v is None or isinstance(v, float) for v in results.as_dict()["cells"][2]["costs"].values()
    )


def test_what_failed_is_tried_again(tmp_path, in_process):
    """Data that are not there fail every run with their sentence, and train once they are."""
    data = tmp_path / "numbers.npy"
    study = Study(
        tmp_path / "again",
        Plan.make(
            SMALL | {"data": str(data), "likelihood": "Gaussian"},
            {"latent_dim": [2, 3]},
            1,
            measures=Measures(("neg_elbo",), items=10),
        ),
    )
    study.run(show=False)
    assert all(str(data) in study.failure(job) for job in study.jobs())
    np.save(data, np.random.default_rng(0).normal(size=(50, 3)))
    study.run(show=False)
    assert all(study.measured(job) and not study.failure(job) for job in study.jobs())


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_study_without_a_finished_run_ends_with_an_error(
    tmp_path, in_process, no_pictures, capsys
):
    """The table is printed, and a script sees by the status that there are no numbers in it."""
    options = "--epochs 1 --network.hidden [8] --seeds 1 --items 20 --metrics neg_elbo --study"
    arguments = ["compare", *options.split(), str(tmp_path / "none")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--optimizer.lr", "1e30", "--vary.latent_dim", "[2, 3]"])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert "**Failed runs**" in printed.out
    assert re.search(r"pvae: error: Every run failed; the first: The loss is", printed.err)
    # There is nothing to keep, so another study may take its place.
    main([*arguments, "--vary.latent_dim", "[4, 5]"])
    assert "0 of 2 cells stay as they were, 2 are new" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--vary.latent_dim", "[6, 7]"])
    assert "holds another study" in capsys.readouterr().err


def test_a_part_that_a_worker_does_not_have_is_named(tmp_path, monkeypatch, in_process):
    """A run whose part cannot be imported where it runs is a row with its sentence."""
    (tmp_path / "parts_of_here.py").write_text(
        "from pvae.priors import StandardNormal\n\n\nclass Own(StandardNormal):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import parts_of_here

    study = Study(
        tmp_path / "study",
        Plan.make(SMALL, {"prior": [parts_of_here.Own, "StandardNormal"]}, 1, measures=QUICK),
    )
    monkeypatch.undo()
    del sys.modules["parts_of_here"]
    with study._writing():
        result = run_job(study.jobs()[0])
    assert result["status"] == "failed"
    assert "parts_of_here" in result["sentence"]
    assert len(result["sentence"]) <= 300


def test_items_and_draws_are_the_same_for_every_cell(finished):
    """A difference of a cell and itself with other weights has the items in common."""
    first, second = (finished.measured(job).items["neg_elbo"] for job in finished.jobs()[:2])
    assert np.corrcoef(first, second)[0, 1] > 0.5


def test_jobs_side_by_side_give_the_same_bits(finished, tmp_path, forked_workers):
    other = Study(tmp_path / "side-by-side", plan())
    other.run(jobs=2, show=False)
    assert weights(other) == {k: v for k, v in weights(finished).items() if k in weights(other)}
    assert len(weights(other)) == 4


def test_finished_runs_are_not_repeated_and_changed_cells_are_said(finished):
    before = weights(finished)
    times = {p: (finished.path / p / "weights.safetensors").stat().st_mtime_ns for p in before}
    changed = Study(finished.path, plan({"latent_dim": [2, 3]}))
    assert "2 of 2 cells stay" in changed.notes[0]
    changed.run(show=False)
    for place, then in times.items():
        assert (finished.path / place / "weights.safetensors").stat().st_mtime_ns == then


def test_a_killed_worker_loses_nothing(finished, tmp_path, forked_workers):
    study = Study(tmp_path / "killed", plan())

    def kill():
        """Kill the process of a run as soon as it trains, twice."""
        for _ in range(2):
            while not list(study.path.glob("runs/*/*/run.json")):
                time.sleep(0.01)
            for worker in WORKERS.all:
                if worker.process:
                    os.kill(worker.process.pid, signal.SIGKILL)
            time.sleep(1.0)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    study.run(show=False)
    killer.join()
    assert weights(study) == {k: v for k, v in weights(finished).items() if k in weights(study)}
    assert len(weights(study)) == 4


def test_a_run_elsewhere_comes_back_with_its_files(finished, tmp_path):
    """A worker that does not see the study folder sends the run."""
    study = Study(tmp_path / "elsewhere", plan(seeds=1))

    class Elsewhere:
        """An executor whose workers have another disk."""

        def submit(self, function, job):
            return done(function, replace(job, study=str(tmp_path / "nowhere")))

    study.run(Elsewhere(), show=False)
    assert weights(study) == {k: v for k, v in weights(finished).items() if k in weights(study)}
    assert len(weights(study)) == 2


def test_files_that_arrive_otherwise_than_sent_are_refused(finished, tmp_path):
    sent = pack(finished.path / finished.jobs()[0].place)
    data, sha = sent["items.npz"]
    with pytest.raises(ValueError, match=r"items\.npz did not arrive as it was sent"):
        unpack({**sent, "items.npz": (data[:-1], sha)}, tmp_path / "run")
    with pytest.raises(ValueError, match="outside of the run folder"):
        unpack({"../items.npz": (data, sha)}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    unpack(sent, tmp_path / "run")
    assert pack(tmp_path / "run") == sent


def test_of_several_gpus_each_worker_has_one(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    given = [_environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert given == ["0", "1", "0"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "CUDA_VISIBLE_DEVICES" not in _environment(0)


def test_a_token_that_cannot_be_read_is_renewed(tmp_path):
    (tmp_path / "study.token").write_bytes(b"\xff\xfe")
    (tmp_path / "study.yaml").write_text(MEANT)
    study = Study(tmp_path)
    with study._writing():
        assert token_of(study.jobs()[0]) == study.jobs()[0].token != ""


def test_a_second_process_is_refused(finished):
    with lock(finished.path), pytest.raises(BlockingIOError, match="Another process runs"):
        Study(finished.path).run(show=False)


def test_another_study_in_the_folder_is_refused(finished, tmp_path):
    with pytest.raises(FileExistsError, match="another study"):
        Study(finished.path, plan({"latent_dim": [7, 8]}))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not a study"):
        Study(tmp_path, plan())
    for path in (tmp_path / "file", tmp_path / "file" / "study"):
        with pytest.raises(NotADirectoryError, match="file is a file: choose another folder"):
            Study(path, plan())
    with pytest.raises(FileNotFoundError, match="no study"):
        Study(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"vary": {"latent_dim": [2]}}, "one cell only"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": [1, 1]}, "differ"),
        ({"seeds": [-1]}, "whole numbers"),
        ({"seeds": 5001}, "many=True"),
        ({"vary": {name: [*range(1, 9999)] for name in HUGE}}, "over 1,000,000,000,000 runs"),
        (
            {"vary": {"variants": {f"{i}, {50 * 'a'}": {"epochs": i} for i in range(1, 99)}}}
            | {"baseline": "none"},
            "no cell 'none'.*choose from",
        ),
        ({"baseline": "latent"}, "no cell 'latent'.*did you mean 'latent_dim="),
        ({"metrics": ["elbo"]}, "no metric"),
        ({"metrics": []}, "metrics is empty"),
        ({"seeds": "12"}, "seeds is '12'"),
        ({"vary": {"prior": ["StandardNormal", None]}}, "prior is None: each run needs one"),
        (
            {"vary": {"prior": ["StandardNormal", partial(pvae.priors.Mixture, component=5)]}},
            "prior Mixture has no argument 'component': did you mean components",
        ),
        ({"items": -1}, "items is -1"),
        ({"seconds": -1.0}, "seconds"),
        ({"jobs": 0}, "jobs is 0"),
        ({"base": {"priro": "Flow"}}, "did you mean prior"),
        ({"vary": None}, "base without vary"),
        ({"vary": None, "base": None}, "seeds without vary"),
        ({"vary": None, "base": None, "seeds": 3, "metrics": ["kl"]}, "metrics without vary"),
        ({"vary": None, "base": None, "seeds": 3, "race": True}, "race without vary"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(arguments, said, tmp_path):
    given = {"base": SMALL, "vary": {"latent_dim": [2, 3]}, "seeds": 2, "progress": False}
    with pytest.raises(ValueError, match=said) as raised:
        compare(tmp_path / "study", **given | arguments)
    assert len(str(raised.value)) <= 300
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"study": None}, "study is None: it must be the path"),
        ({"base": [1]}, r"base is \[1\]: give arguments by name"),
        ({"metrics": "kl"}, "metrics is 'kl': give a list"),
        ({"executor": "dask"}, "executor is the string 'dask'"),
        ({"trust": 3}, "trust is 3: it must be names"),
        ({"many": "no"}, "many is 'no'"),
        ({"progress": "no"}, "progress is 'no'"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments, said, tmp_path):
    given = {"base": SMALL, "vary": {"latent_dim": [2, 3]}, "seeds": 2, "progress": False}
    with pytest.raises(TypeError, match=said):
        compare(**{"study": tmp_path / "study"} | given | arguments)
    assert not (tmp_path / "study").exists()


def test_a_plan_of_many_cells_is_read_back(tmp_path):
    sizes = [*range(1, 101)]
    meant = plan({"latent_dim": sizes, "epochs": sizes}, seeds=[3], race=True, baseline=None)
    study = Study(tmp_path / "study", meant)
    with study._writing():
        assert len((study.path / "study.yaml").read_bytes()) < 20_000
    found = Study(study.path).plan
    assert found == meant
    assert len(found.cells) == 10_000
    named = {f"v{i}": {"latent_dim": i, "epochs": i, "batch_size": i} for i in range(1, 10_001)}
    widest = configuration.as_yaml(plan({"variants": named}, seeds=1).describe())
    assert configuration.within_bounds(widest.decode(), MOST_VALUES)


MEANT = """\
base: {epochs: 5}
axes: [{two: {latent_dim: 2}, three: {latent_dim: 3}}]
seeds: [0]
measures: {metrics: [neg_elbo]}
"""


def test_arguments_that_are_newer_than_a_plan_have_their_defaults(tmp_path):
    (tmp_path / "study.yaml").write_text(MEANT)
    read = Study(tmp_path).plan
    assert read.config(read.cells[0]) == defaults() | {"epochs": 5, "latent_dim": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "more than 100,000 values"),
        ("a: [" + "1," * 4_000_000 + "]", "more than 100,000 values"),
        (
            "axes: [" + "{a: {}, b: {}}," * 60 + "]\nseeds: [0]\nbase: {}\nmeasures: {metrics: []}",
            "most 100,000",
        ),
        ("axes: 3", "not the plan of a study"),
        (MEANT.replace("epochs", "epochz"), "'epochz' is no argument of a run"),
        (MEANT.replace("latent_dim: 2", "latent: 2"), "'latent' is no argument of a run"),
        (MEANT.replace("[0]", "[a]"), "seeds are whole numbers"),
        ("{}", "no 'measures'"),
    ],
)
def test_a_plan_that_is_none_is_refused_at_once(text, said, tmp_path):
    (tmp_path / "study.yaml").write_text(text)
    began = time.process_time()
    with pytest.raises(ValueError, match=said) as raised:
        Study(tmp_path)
    assert time.process_time() - began < 1
    assert len(str(raised.value)) <= 300 + len(str(tmp_path))


def test_ctrl_c_starts_no_further_run(tmp_path, monkeypatch):
    """Neither here, where the run under way ends with its process, nor on another executor."""
    study, begun, closed = Study(tmp_path / "study", plan()), [], threading.Event()

    def run(job):
        begun.append(job)
        assert closed.wait(10)
        raise WorkerDied("The worker process was killed.")

    def interrupt(self, running):
        while not begun:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("pvae.studies.study.run_on_worker", run)
    monkeypatch.setattr("pvae.studies.study.WORKERS", SimpleNamespace(close=closed.set))
    monkeypatch.setattr("pvae.studies.progress.Progress.update", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        study.run(show=False)
    assert len(begun) == 1
    queued = []

    class Elsewhere:
        """An executor whose workers are busy."""

        def submit(self, function, job):
            queued.append(concurrent.futures.Future())
            return queued[-1]

    with pytest.raises(KeyboardInterrupt):
        study.run(Elsewhere(), show=False)
    assert len(queued) == 4
    assert all(future.cancelled() for future in queued)
    assert time.monotonic() - began < 2


def test_an_error_of_the_machine_is_said(finished, forked_workers):
    """It is not of the run, which another machine may do."""
    job = replace(finished.jobs()[0], place="study.yaml/run")
    with pytest.raises(WorkerDied, match="File exists"):
        WORKERS.run(job)


def test_a_log_is_not_written_through_a_link(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "seed-0.log").symlink_to(tmp_path / "aim")
    os.mkfifo(tmp_path / "runs" / "seed-1.log")
    for seed in range(3):
        log = _log(tmp_path / "runs" / f"seed-{seed}")
        os.write(log, b"said")
        os.close(log)
    assert not (tmp_path / "aim").exists()
    assert (tmp_path / "runs" / "seed-2.log").read_bytes() == b"said"


def test_a_process_killed_while_it_writes_measures_leaves_none(tmp_path, monkeypatch):
    def measured(value):
        return Measured(
            {"neg_elbo": np.full(3, value)}, {"epochs": 1.0}, "data", "values", "a1", {}
        )

    (tmp_path / "run").mkdir()
    run = SimpleNamespace(
        place=lambda name: tmp_path / "run" / name,
        write=lambda name, record: files.write(
            tmp_path / "run" / name, json.dumps(record).encode()
        ),
    )
    before, after = Measures(("neg_elbo",)), Measures(("neg_elbo",), items=3)
    write_measures(run, before, measured(1.0))
    assert read_measures(tmp_path / "run", before).items["neg_elbo"].tolist() == [1.0] * 3
    assert read_measures(tmp_path / "run", after) is None

    def killed(name, record):
        raise KeyboardInterrupt

    run.write = killed
    with pytest.raises(KeyboardInterrupt):
        write_measures(run, after, measured(2.0))
    assert read_measures(tmp_path / "run", after) is None
    assert read_measures(tmp_path / "run", before) is None  # its items are another's
    for damaged in (b"{", b"[]", b"\xff"):
        (tmp_path / "run" / "measures.json").write_bytes(damaged)
        assert read_measures(tmp_path / "run", before) is None
    assert read_measures(tmp_path / "nothing", before) is None


def test_a_race_ends_where_the_exhaustive_study_does(tmp_path, in_process):
    slow = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e-9}}
    slower = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e-10}}
    fast = {"class_path": "Adam", "init_args": {"lr": 0.05}}
    vary = {"optimizer": {"slow": slow, "slower": slower, "Adam": fast}}
    options = {"seeds": 1, "metrics": ["neg_elbo"], "items": 30, "progress": False}
    base = SMALL | {"epochs": 9, "latent_dim": 2}
    raced = compare(tmp_path / "raced", base, vary, race=True, **options)
    cell = next(cell for cell in raced.cells if cell.name == "Adam")
    assert cell.seeds == (0,)
    assert [c.seeds for c in raced.cells if c.name != "Adam"] == [(), ()]
    # Continued, it is still a race.
    continued = compare(tmp_path / "raced", progress=False)
    assert [c.seeds for c in continued.cells] == [c.seeds for c in raced.cells]
    assert any("that the race has stopped" in note for note in continued.notes)
    study = Study(tmp_path / "raced")
    job = next(job for job in study.jobs() if job.cell == "Adam")
    straight = replace(job, place="straight")
    run_job(straight)
    for name, values in study.measured(job).items.items():
        assert np.array_equal(values, study.measured(straight).items[name])


def test_steps_are_a_budget(tmp_path, in_process):
    base = SMALL | {"latent_dim": 2}
    found = compare(
        tmp_path / "steps",
        base,
        {"batch_size": [128, 256]},
        seeds=1,
        steps=24,
        metrics=["neg_elbo"],
        items=30,
        progress=False,
    )
    assert [cell.costs["steps"] for cell in found.cells] == [24, 24]
    assert any("one seed" in note for note in found.notes)
    assert {c.verdict for c in found.comparisons} == {"one seed"}


def test_values_that_do_not_compare_are_in_separate_tables(tmp_path, in_process):
    vary = {
        "likelihood": ["Bernoulli", {"class_path": "Bernoulli", "init_args": {"relaxed": True}}]
    }
    found = compare(
        tmp_path / "values", SMALL, vary, seeds=1, metrics=["neg_elbo"], items=30, progress=False
    )
    assert len(found.groups) == 2
    assert not found.comparisons
    assert any("not compare" in note for note in found.notes)


def test_the_command_line(tmp_path, capsys, in_process):
    options = "--epochs 1 --network.hidden [8] --seeds 1 --items 20 --metrics neg_elbo --study"
    vary = ["--vary.prior", "[StandardNormal, {class_path: VampPrior, init_args: {components: 5}}]"]
    main(["compare", *options.split(), str(tmp_path / "priors"), *vary])
    assert "VampPrior(components=5)" in capsys.readouterr().out
    main(["compare", "--study", str(tmp_path / "priors")])
    assert "VampPrior(components=5)" in capsys.readouterr().out
    for argv, said in {
        ("--vary.priro", "[Flow, Normal]"): "did you mean prior",
        ("--vary.prior", "[]"): "empty list",
        ("--vary.prior", "[Flow]"): "one cell only, as prior has",
        ("--vary.latent_dim", "[2, 2]"): "same name 'latent_dim=2'",
        ("--vary.latent_dim", "{a: 2, a: 3, b: 4}"): "two values of the name 'a'",
        ("--baseline", "Flow"): "without --vary",
    }.items():
        with pytest.raises(SystemExit) as raised:
            main(["compare", *options.split(), str(tmp_path / "other"), *argv])
        assert raised.value.code == 2
        assert said in capsys.readouterr().err


def test_a_study_is_continued_with_the_modules_that_are_trusted(tmp_path, monkeypatch):
    given = {}

    def compare(*args, **options):
        given.update(options)
        return SimpleNamespace(cells=[])

    monkeypatch.setattr("pvae.studies.compare", compare)
    monkeypatch.setattr("pvae.studies.tables.markdown", lambda results: "")
    monkeypatch.setattr("pvae.studies.pictures.draw", lambda *args: [])
    study = Study(tmp_path / "study", plan())
    with study._writing():
        pass
    main(["compare", "--study", str(study.path), "--trust", "my_parts"])
    assert given["trust"] == ["my_parts"]


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.stem)
def test_our_own_studies_are_read(file, tmp_path, monkeypatch):
    planned = []

    def run(study, *args, **options):
        planned.append(study.plan)
        raise RuntimeError("it is not run here")

    monkeypatch.setattr(Study, "run", run)
    monkeypatch.setattr("pvae.studies.trial._Trial.error", lambda *args: None)  # data may lack
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["compare", "--config", str(file), "--study", "study"])
    assert len(planned[0].cells) >= 3
    (axis,) = planned[0].axes
    (values,) = configuration.read(file)["vary"].values()
    assert [*axis] == [*values]  # in the order of the file
    assert len(planned[0].seeds) >= 2


@pytest.fixture(autouse=True, scope="module")
def _threads():
    yield
    torch.set_num_threads(1)
