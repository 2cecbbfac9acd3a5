from types import SimpleNamespace

import pytest
import torch

import pvae
from pvae import plots
from pvae.studies.pictures import draw
from tests.studies.cases import results, seeds, study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study folder with one run, which all cells of these tests share."""
    path = tmp_path_factory.mktemp("study")
    data = pvae.data.load(torch.rand(40, 1, 4, 4), validation=10)
    vae = pvae.build(data.event_shape, latent_dim=2)
    pvae.fit(vae, data, epochs=2, run=path / "runs/a", progress=False, compile=False)
    return path


def drawn_into(cells, folder, **others):
    made = study(cells, path=folder, **others)
    jobs = [SimpleNamespace(**vars(job), place="runs/a") for job in made.jobs()]
    made.jobs = lambda: jobs
    made.plan.trusted = ()
    return draw(made, results(cells, **others))


def drawn(cells, folder, **others):
    paths = drawn_into(cells, folder, **others)
    assert all(path.stat().st_size > 1000 for path in paths)
    return {path.relative_to(folder / "figures").as_posix() for path in paths}


def test_every_picture_of_a_study(folder):
    assert drawn({"a": seeds(30), "$b_": seeds(29)}, folder) == {
        "forest-neg_elbo.png",
        "forest-log_prob.png",
        "differences-neg_elbo.png",
        "differences-log_prob.png",
        "learning-curves.png",
        "samples.png",
    }


def test_learning_curves_are_of_no_test_items(folder, monkeypatch):
    shown = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: shown.update({path.stem: figure}))
    drawn_into({"a": seeds(30), "b": seeds(29)}, folder)
    figure = shown["learning-curves"]
    assert "items" not in figure.get_suptitle()
    assert "items" in shown["forest-neg_elbo"].get_suptitle()
    assert figure.axes[0].get_ylabel() == "validation −ELBO (nats per datum)"
    assert [text.get_text() for text in figure.legends[0].texts] == ["each line a seed"]


def test_groups_that_do_not_compare_have_pictures_of_their_own(folder):
    cells = {"a": seeds(30, n=1), "b": seeds(29, n=1), "c": seeds(-9, n=1, values="grey")}
    assert drawn(cells, folder, metrics=("neg_elbo",)) == {
        "forest-neg_elbo-1.png",
        "forest-neg_elbo-2.png",
        "differences-neg_elbo-1.png",  # there is no other cell in the second
        "learning-curves-1.png",
        "learning-curves-2.png",
        "samples.png",
    }


def test_failed_cells_have_none(folder):
    assert drawn({"a": ["No memory."], "b": ["No memory."]}, folder) == set()


def test_of_many_cells_the_best_are_shown(folder):
    from pvae.studies.pictures import _shown

    cells = results({f"{i}": seeds(30 - i / 10, n=1, items=2) for i in range(70)}).cells
    found, note = _shown(cells, "neg_elbo")
    assert len(found) == 60
    assert note == "; the 60 best of 70 cells"
    means = [cell.estimates["neg_elbo"].mean for cell in found]
    assert max(means) <= min(c.estimates["neg_elbo"].mean for c in cells if c not in found)


def test_a_reference_goes_by_its_short_name_also_where_it_is_not_shown():
    from pvae.studies.pictures import _differences

    names = ["Flow(layers=8), ImportanceWeighted(num_samples=5)", "Flow(layers=8), Trace_ELBO", "b"]
    found = results({n: seeds(30 - i, items=2) for i, n in enumerate(names)}, baseline=names[0])
    for cells, said in ((found.cells, "Flow, ImportanceWeighted"), (found.cells[1:], "Flow(lay")):
        figure = _differences(found, cells, "neg_elbo", "")
        assert f"minus that of {said}" in figure.axes[0].get_xlabel()


def test_the_name_of_data_is_no_mathematics():
    from pvae.studies.pictures import _forest, _title

    found = results({"a": seeds(30, items=2, values="of $x$"), "b": seeds(29, items=2)})
    figure = _forest(found.cells[:1], "neg_elbo", _title(found.cells[:1]))
    assert r"of \$x\$" in figure.get_suptitle()
