"""`pvae compare`: the command that compares parts, or any other arguments of training."""

from typing import Any

from pvae.studies.measures import Measures

# Options of train that each run of a study has of its own.
OF_EACH = ("run", "resume", "seed", "snapshots")


def compare(
    study: str,
    vary: dict[str, Any] | None = None,
    seeds: int | list[int] = 3,
    baseline: str | None = None,
    metrics: list[str] | str | None = None,
    num_samples: int = Measures.num_samples,
    items: int = Measures.items,
    ais_items: int = Measures.ais_items,
    jobs: int = 1,
    threads: int = 1,
    cluster: str | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    race: bool = False,
    many: bool = False,
    base: dict[str, Any] | None = None,
    trust: list[str] | None = None,
) -> None:
    """Train every combination of what varies, with several seeds, and compare them.

    The options of pvae train set what all runs share. --vary.prior '[StandardNormal, Flow]' varies
    an option over a list; several such options form a grid.

    Args:
        study: the study folder, new, or one to continue.
        vary: options of train with a list of values each, or named values; options that vary
            together are joined by a comma.
        seeds: number of seeds, or the seeds.
        baseline: name of the cell that others are compared with; by default the best.
        metrics: neg_elbo, reconstruction, kl, log_prob and active_units by default; also
            bits_per_dim, unreliable_share, effective_sample_size, inference_gap, approximation_gap,
            amortization_gap, mutual_information, total_correlation, code_usage, code_perplexity,
            classification_error, knn_accuracy, linear_probe_accuracy, adjusted_rand_index,
            normalized_mutual_information, clustering_accuracy, mig, sap, disentanglement,
            completeness, informativeness, precision, recall, density, coverage, frechet_distance.
        num_samples: importance samples for log_prob.
        items: items of the test part that are measured; 0 for all.
        ais_items: of these, items on which annealed importance sampling checks log_prob.
        jobs: runs at a time on this machine.
        threads: threads of each run.
        cluster: address of a Dask scheduler, such as tcp://host:8786, whose workers run instead;
            --scheduler with such an address is the same.
        steps: gradient steps of each run, in place of epochs, rounded to whole epochs.
        seconds: training time of each run; epochs are then the most it may take.
        race: stop cells early that are clearly behind.
        many: whether more than 10,000 runs are meant.
    """
    from pvae import studies
    from pvae.messages import shorten
    from pvae.studies import pictures, tables
    from pvae.studies.cluster import connected

    wanted = [metrics] if isinstance(metrics, str) else metrics
    options: dict[str, Any] = {} if wanted is None else {"metrics": wanted}
    with connected(cluster) as executor:
        results = studies.compare(
            study,
            None if vary is None else base,
            vary,
            seeds,
            baseline=baseline,
            num_samples=num_samples,
            items=items,
            ais_items=ais_items,
            jobs=jobs,
            executor=executor,
            threads=threads,
            steps=steps,
            seconds=seconds,
            race=race,
            many=many,
            trust=trust,
            **options,
        )
    print(tables.markdown(results))
    paths = pictures.draw(studies.Study(study), results)
    if paths:
        print(f"\nPictures: {', '.join(path.name for path in paths)}")
    print(f"Study folder: {study}")
    if not any(cell.seeds for cell in results.cells):
        reasons = [why for cell in results.cells for why in cell.failures.values()]
        if reasons:
            raise RuntimeError(f"Every run failed; the first: {shorten(reasons[0], 200)}")
