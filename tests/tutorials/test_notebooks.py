"""Every notebook runs afresh at the reduced budget, and what its prose claims holds there too."""

from pathlib import Path

import matplotlib.pyplot
import nbformat
import pyro
import pytest

from tutorials.execute import MOST_BYTES, notebooks, read

# Expressions in the names of the notebook, which hold after its last cell.
CLAIMS: dict[str, list[str]] = {
    "01_vae_in_pyro": [
        "abs(by_hand - by_trace_elbo) < 1e-5 * abs(by_hand)",
        "abs(by_hand_closed - by_mean_field) < 1e-5 * abs(by_hand_closed)",
        "abs(ae_by_hand - ae_by_pvae) < 1e-5 * abs(ae_by_hand)",
        "ours == theirs",
        "abs(reparameterized.mean() - score.mean()) < 4 * score.std() / draws**0.5",
        "score.std() > 5 * reparameterized.std()",
        "(reconstructed - mean_by_hand).abs().max() < 1e-5",
        "(vae_samples - by_hand_samples).abs().max() < 1e-5",
        "(vae_path - path_by_hand).abs().max() < 1e-5",
        "vae_distances['samples'][0] < ae_distances['samples'][0]",
        "table[0.0]['s'] < table[1.0]['s'] < table[10.0]['s']",
        "table[0.0]['KL'] > table[1.0]['KL'] > table[10.0]['KL']",
        "table[1.0]['ELBO'] == max(row['ELBO'] for row in table.values())",
    ],
    "02_latent_space": [
        "torch.allclose(grid, plots.percentiles(tiles), atol=1e-5)",
        "(prior_cells - 1 / 16).abs().max() < 5 * (1 / 16 * 15 / 16 / n) ** 0.5",
        "code_cells.max() > 1 / 16 + 5 * (1 / 16 * 15 / 16 / len(y_train)) ** 0.5",
        "film_bytes < 250_000",
        "accuracies['16 latents, epoch 0'] > 0.8",
        "abs(by_pvae - accuracies[f'16 latents, epoch {epochs}']) < 0.01",
        "(circle_by_hand - circle_by_pvae).abs().max() < 1e-4",
        "(middle['line'].norm(dim=-1) < middle['circle'].norm(dim=-1)).all()",
        "abs(kl.sum() - total_kl) < 1e-3",
        "rank_correlation > 0.5",
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
