"""Every notebook runs afresh at the reduced budget, and what its prose claims holds there too."""

from pathlib import Path

import matplotlib.pyplot
import nbformat
import pyro
import pytest

from tutorials.execute import MOST_BYTES, notebooks, read

# Expressions in the names of the notebook, which hold after its last cell.
CLAIMS: dict[str, list[str]] = {
    "09_counts": [
        "error_by_hand < 1e-5 and error_as_multinomial < 1e-5",
        "(z_scores.abs() < 4).all()",
        "torch.allclose(inflated, by_pyro)",
        "torch.allclose(elbo_by_hand, elbo_by_pvae)",
        "r2['observed total'] < 0.4 < 0.6 < r2['plain rate']",
        "0 < below['zero-inflated NB'] < below['negative binomial'] < below['Poisson'] / 5",
        "below['Poisson'] > 20",
        "gate[fault > 0].min() > 0.2 > gate[fault == 0].max()",
        "true_perplexity < vae_perplexity < 0.9 * perplexity_of_frequencies",
    ],
    "10_your_own_data_and_parts": [
        "same_images",
        "[Path(path).name for path in data.skipped] == ['broken.png']",
        "data.event_shape == (1, 16, 16) and len(data.classes) == 4",
        "torch.allclose(ring.log_prob(torch.tensor([[3.0, 0.0], [0.0, 0.0]])), ring_by_hand)",
        "abs(likelihood_by_hand - likelihood_by_pyro) < 1e-4",
        "gains['Laplace'] > 10 and (asymmetry < 1).sum() > 20",
        "python_or_shell < 1e-4",
        "resumed_or_not == 0",
    ],
    "11_compiled_svi": [
        "abs(loss_by_hand / loss_by_pyro - 1) < 1e-5",
        "abs(before[0] - before[1]) < 1e-6 and abs(after[0] - after[1]) > 1e-3",
        "max(relative, mixture_relative, annealed_relative) < 1e-4",
        "abs(mixture_by_hand / slow_losses[0].item() - 1) < 1e-5",
        "ratio > 1 and mixture_ratio > 1",
        "'asks for the value of a tensor' in refused['branching']",
        "'random numbers' in refused['outside']",
        "abs(mended_loss / branching_loss - 1) < 1e-5",
        "vae_losses[-1] < vae_losses[0]",
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
