"""Every notebook runs afresh at the reduced budget, and what its prose claims holds there too."""

from pathlib import Path

import matplotlib.pyplot
import nbformat
import pyro
import pytest

from pvae.cli import film, gallery
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
        "repaired['σ = 1, free bits'][1].sum() > repaired['σ = 1'][1].sum()",
        "iwae_error < 0.05",
        "shortfalls == sorted(shortfalls, reverse=True)",
        "abs(shortfalls[-1]) < 0.1",
        "iwae_gain.mean() > 0",
    ],
    "06_log_likelihood": [
        "abs(elbo_error.mean()) < 0.05",
        "(by_hand - truth).mean() < -2 and naive.effective_sample_size.median() < 3",
        "abs(sampled_error[-1].mean()) < 0.1 and naive_error[-1].mean() < -20",
        "abs((estimate - truth).mean()) < 0.02 and 0.7 < deviation.std() < 1.4",
        "outcomes[1.2]['within'] > 0.85 and outcomes[0.4]['within'] < 0.6",
        "outcomes[0.4]['found'].unreliable_share > 0.5",
        "abs(missed - math.log(2)) < 0.05 and one_root.pareto_k.item() < 0.5",
        "abs(roots.log_prob.item() - both_roots) < 0.3",
        "-2 < lower[-1].mean() < 0 < upper[-1].mean() < 2",
        "(truth[:20] - few.log_prob).mean() > 10 * few.standard_error.mean()",
        "off_error.mean() < (sandwich.lower - exact).mean()",
        "calibration[1.0].p_value.min() > 0.001 > calibration[0.7].p_value.max()",
        "passed.p_value.min() > 0.001 and (lazy_elbo - truth).mean() < -100",
        "(report.log_prob > bound).float().mean() > 0.9",
    ],
    "07_labels": [
        "abs(by_hand - by_pyro) < 1e-4 * abs(by_hand)",
        "same < 1e-4 and same_prior < 1e-6",
        "drawn.float().mean() > 0.85 and new_class.float().mean() > 0.85",
        "correlation > 0.5 > 0.2 > abs(shuffled)",
        "accuracy['without labels'] > accuracy['with labels'] + 0.2",
        "worth.max() < math.log(10) + 1e-3 and 1.8 < worth.mean()",
        "(marginal - without).mean() > 0",
        "right.float().mean() > 0.9",
        "(told_right.log_prob - told_wrong.log_prob).mean() > 10",
        "by_ellipses.float().mean() > 0.4",
    ],
    "08_anomalies_imputation_compression": [
        "abs(by_hand.mean() - normal.score.mean()) < 1",
        "min(dict(zip(small, odd.score))[k] for k in ('lion', 'flower', 'temple', 'gibberish'))"
        " > normal.score.max()",
        "as_bars.score.min() < normal.score.min()",
        "(as_bars.score < normal.score.median()).all()",
        "curves['likelihood'].area < 0.2 < 0.8 < curves['typicality'].area",
        "curves['complexity'].area > 0.98",
        "dict(zip(small, of_strange.score))['lion'] < of_digits.score.median()",
        "dict(zip(small, of_strange.score))['flower'] < of_digits.score.max()",
        "error_of(found.x).mean() < error_of(shortcut).mean()",
        "abs(error_of(found.x).mean() - error_of(by_hand_x).mean()) < 0.01",
        "(by_hand_x - found.x)[:, ~mask].square().mean().sqrt() < 0.04",
        "all(abs(predicted - share) < 0.06 for predicted, share, spread in reliability)",
        "distance(averaged).mean() < 0.8 * distance(x).mean()",
        "abs(bits_by_hand.mean() - codes.neg_elbo.bits) < 5",
        "0.5 < codes.neg_elbo.bits / codes.gzip.bits < 0.75",
        "break_even > len(data.train)",
        "dict(zip(small, strange_bits))['gibberish'] > raw",
    ],
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
        "abs(changed_loss / branching_loss - 1) < 1e-5",
        "vae_losses[-1] < vae_losses[0]",
    ],
    "12_studies": [
        "abs(error_by_hand - error) < 1e-9",
        "unpaired > 2 * error_by_hand",
        "len(results.groups) == 2",
        "{len(cells) for cells in results.groups.values()} == {2, 4}",
        "all(cell.seeds == tuple(range(seeds)) for cell in results.cells)",
        "again.cells[0].by_seed == results.cells[0].by_seed",
        "low <= 1000 * share <= high",
        "naive_share > 0.1",
    ],
    "13_uncertain_weights": [
        "abs(by_hand - by_pvae) < 1e-3",
        "all(bound < log_evidence + 1 for _, bound in regressions.values())",
        "spread['exact'][50] > 3 * spread['exact'][10]",
        "average_error < 1e-4 and score_error < 1e-4",
        "abs(share - share_by_hand) < 0.05",
        "area['ensemble', 'permuted', 'plain'] > 0.7",
        "area['Laplace', 'bars', 'disagreement'] > area['Laplace', 'bars', 'plain']",
    ],
    "14_few_labels": [
        "abs(by_hand - by_pvae) < 1e-5 * abs(by_hand)",
        "all((data.train.y == k).sum() == 5 for k in range(10))",
        "difference < 0.1",
        "results['label spreading'].error < 0.15 and results['supervised net'].error < 0.2",
        "results['M2, q(y|x)'].error < 0.4",
        "by_k_means > 0.6",
    ],
    "15_hierarchies": [
        "density_error < 1e-4",
        "posterior_error < 1e-4",
        "kls['Nested'].shape == kls['TopDown'].shape == (180, 3)",
        "abs(kls['TopDown'].sum(-1).mean() - whole) < 0.2",
        "spread[0] > spread[1]",
        "by_trial['product, free bits'].min() > 1",
        "by_trial['sum'].min() > 10 * by_trial['product'].min()",
    ],
    "16_codes": [
        "same_codes and elbo_error < 1e-4",
        "fsq_share > 0.99",
        "all(1 <= found.perplexity <= K * found.usage + 1e-6 for found in usage.values())",
        "after.kl.mean() < before['FSQ'].kl.mean() - 0.1",
        "(after.log_likelihood - before['FSQ'].log_likelihood).abs().max() < 1e-3",
        "chain_error < 1e-4 and abs(total - 1) < 1e-4 and first_varies < 1e-5",
        "(ball.distance(centres['hyperbolic'], 0 * centres['hyperbolic'])).isfinite().all()",
        "states_error < 1e-3 and ending_error < 1e-5",
        "densities['independent'] < densities['state space'] < densities['exact'] + 1",
    ],
}


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", notebooks(), ids=named)
def test_a_notebook_runs_and_its_claims_hold(path, tmp_path, monkeypatch, forked_workers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PVAE_TUTORIALS", "quick")
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    for module in (gallery, film):  # the pictures of commands have tests of their own
        monkeypatch.setattr(module, "plot", lambda *args, **options: [])
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
