"""Every notebook runs afresh at the reduced budget, and what its prose claims holds there too."""

from pathlib import Path

import matplotlib.pyplot
import nbformat
import pyro
import pytest

from tutorials.execute import MOST_BYTES, notebooks, read

# Expressions in the names of the notebook, which hold after its last cell.
CLAIMS: dict[str, list[str]] = {
    "03_priors": [
        "abs(mean_kl - information - mismatch.mean()) < 0.1",
        "mixture_error < 1e-4",
        "vamp_error < 1e-4",
        "flow_error < 1e-4",
        "gain_by_hand.mean() < mismatches['standard normal'] + 0.05",
        "gain.mean() < mismatches['standard normal'] + 0.05",
        "(bounds['mixture'] - bounds['standard normal']).abs().mean() < 2",
        "gains['q(z) of the training data', 'train'].mean()"
        " > gains['refitted', 'train'].mean() - 0.02",
        "abs(total - 1) < 0.01",
    ],
    "04_likelihoods": [
        "bernoulli_error < 1e-3",
        "integral.max() < 0.51",
        "integral[0] < 0.25",
        "total_error < 1e-3",
        "continuous_error < 1e-4",
        "losses['relaxed Bernoulli'] > 0 > losses['continuous Bernoulli']",
        "optimal_error < 1e-3",
        "kls['σ = 1 (MSE)'] < 0.1",
        "abs(mass.sum() - 1) < 1e-5",
        "mass_error < 1e-5",
        "bits_error < 1e-6",
        "bits['beta-binomial (ours)'].mean() < bits['Gaussian, dequantized'].mean() - 0.3",
        "bits['discretized logistic'].mean() < bits['Gaussian, dequantized'].mean() - 0.3",
    ],
    "05_posteriors_and_objectives": [
        "elbo_error.abs().mean() < 0.1",
        "gap.min() > -1e-3",
        "(best_by_hand - found.refined_elbo).abs().mean() < 0.3",
        "beta_error < 0.05",
        "rates[0] > rates[1] > rates[2]",
        "eigenvalues[0] < 1",
        "kl_collapsed.sum() < 0.1",
        "collapsed_units == 0",
        "free_error < 1e-4",
        "mended['σ = 1, free bits'][1].sum() > mended['σ = 1'][1].sum()",
        "iwae_error < 0.05",
        "shortfalls == sorted(shortfalls, reverse=True)",
        "abs(shortfalls[-1]) < 0.1",
        "iwae_gain.mean() > 0",
    ],
}


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", notebooks(), ids=named)
def test_a_notebook_runs_and_its_claims_hold(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PVAE_TUTORIALS", "quick")
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    names = {"__name__": "__main__"}
    for i, cell in enumerate(read(path).cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.stem}[{i}]", "exec"), names)
    pyro.clear_param_store()
    for claim in CLAIMS[path.stem]:
        assert eval(claim, names), claim


@pytest.mark.parametrize("path", notebooks(), ids=named)
def test_a_notebook_is_executed_whole_and_light(path):
    assert path.stat().st_size <= MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if "Warning" in output.get("text", "")]


@pytest.mark.parametrize("path", notebooks(), ids=named)
def test_a_notebook_says_what_it_teaches_and_ends_with_exercises_and_the_next(path):
    paths = notebooks()
    first, *_, last = nbformat.read(path, as_version=4).cells
    assert first.source.startswith("# ")
    assert "you will be able to" in first.source
    assert "## Exercises" in last.source
    if path != paths[-1]:
        assert f"]({paths[paths.index(path) + 1].name})" in last.source
