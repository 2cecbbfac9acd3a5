"""The commands that measure a run: `pvae evaluate`, `score` and `compress`.

As in `pvae.cli.train`, signatures are options, and slow modules are imported when a command runs.
"""

from typing import Any, Literal

from pvae.cli.run_io import PartName, check_out, open_model, open_run


def evaluate(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    estimator: Literal["all", "elbo", "importance", "ais"] = "all",
    num_samples: int = 5000,
    items: int | Literal["all"] = 1000,
    seconds: float = 50.0,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Estimate the ELBO and log p(x) of a run with errors; print and save them.

    The ELBO and its terms take one sample of z for every item. log p(x) is estimated for some items
    of one part by importance sampling from the posterior, with a diagnostic (k-hat), and for 25 of
    them by annealed importance sampling, with a sandwich of bounds on data drawn from the model.
    Each result is printed when it is ready, the quickest first. Estimates that would take longer
    than --seconds use fewer items, chains and steps, which are printed with them, or are left out
    with a note. Ctrl-C ends log p(x) at once, with what is done. Of a run with a classifier, its
    error on labelled items of one part is printed, with its calibration error.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run, the only ones saved.
        part: part of the data; by default all for the ELBO, and for log p(x) test, or if there is
            none, validation or train.
        estimator: what to estimate: the elbo alone, or also log p(x) by importance sampling, by
            ais, or both.
        num_samples: importance samples for each item.
        items: number of items for log p(x), a fixed random choice, or all.
        seconds: about how long the estimates may take.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    import time

    from pvae.checks import check_size
    from pvae.cli import reports
    from pvae.evaluation.batching import check_seconds, stop_when
    from pvae.training.interrupt import Interrupt

    check_size("num_samples", num_samples)
    check_seconds(seconds)
    most = None if items == "all" else check_size("items", items)
    wanted = part or "all"
    opened, vae, dataset, _ = open_run(run, data, device, wanted)
    if data is None:
        opened.place("evaluation.json")  # raises before any work
    parts = [*dataset.parts] if wanted == "all" else [wanted]
    if part is None and data is not None and dataset.test is not None:
        parts = ["test"]
    record: dict[str, Any] = {}
    began = last = time.monotonic()
    for name in parts:
        bounds = reports.bounds(vae, dataset, [name], seed)
        header = [] if record else [reports.bounds_header(bounds)]
        print(*header, *reports.bounds_rows(bounds), sep="\n", flush=True)
        record = bounds | {"parts": record.get("parts", {}) | bounds["parts"]}
    if found := reports.classes(vae, dataset, parts[-1], seed):
        print(f"\n{reports.classes_line(found, parts[-1])}", flush=True)
        record["classifier"] = reports.classes_record(found)
    with Interrupt() as interrupt, stop_when(lambda: interrupt.requested):
        if estimator != "elbo":
            spent = time.monotonic() - began
            known = reports.evidence(
                vae, dataset, parts[-1], estimator, num_samples, most, seconds, seed, spent
            )
            record["evidence"] = next(known)
            print(f"\n{reports.evidence_header(record['evidence'])}", flush=True)
            for estimate in known:
                took, last = time.monotonic() - last, time.monotonic()
                print(*reports.evidence_lines(estimate, took), sep="\n", flush=True)
    if data is None:
        opened.write("evaluation.json", record)
    if interrupt.requested:
        raise KeyboardInterrupt


def score(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    correction: Literal[
        "typicality", "background", "complexity", "expected", "waic", "disagreement"
    ]
    | None = None,
    background: str | None = None,
    anomalous: int | str | list[int | str] | None = None,
    num_samples: int = 100,
    out: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Write log p(x) and an anomaly score of every item; higher is more anomalous.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run.
        part: part of the data; by default test, or if there is none, validation or train.
        correction: of the score -log p(x): typicality, its distance from the mean of the train
            part; background, its difference from another run's; complexity, from the code length
            of a general compressor; expected, waic or disagreement, from log p(x) under several
            draws of uncertain weights.
        background: run folder of that other run, over the same values.
        anomalous: label of the anomalies, by number or class name, or a list of labels such as
            [0,3]: plots the ROC curve of these against the others in the run's figures.
        num_samples: importance samples for each item.
        out: .csv file; by default scores.csv in the run folder, or scores- and the name of other
            data.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pathlib import Path

    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery, scores
    from pvae.data.batches import batches_for
    from pvae.evaluation import anomaly_score, roc
    from pvae.evaluation.anomaly import OVER_WEIGHTS
    from pvae.storage import files

    if (background is None) != (correction != "background"):
        raise ValueError("--correction background and --background RUN go together: give both.")
    check_out(out, [".csv"], "The scores are a table")
    check_size("num_samples", num_samples)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    if correction in OVER_WEIGHTS and vae.weights is None:
        raise ValueError(
            f"--correction {correction} is over draws of uncertain weights, which this run has "
            "not: train one with pvae train --weights Weights, or choose another correction."
        )
    suffix = "" if data is None else f"-{dataset.name}"
    path = Path(out) if out else opened.place(f"scores{suffix}.csv")
    picture = None if anomalous is None else opened.place(f"figures/roc{suffix}.png")
    held = dataset.part(chosen)
    positive = None
    if anomalous is not None:
        labels = anomalous if isinstance(anomalous, list) else [anomalous]
        positive = scores.members(dataset, held, labels)
    reference = None
    if correction == "typicality":
        reference = gallery.head(vae, opened.data(), 1000, "train")
    found = anomaly_score(
        vae,
        *batches_for(vae, dataset, held).choose(None, seed),
        num_samples=num_samples,
        correction=correction,
        reference=reference,
        background=None if background is None else open_model(background, device)[1],
        levels=dataset.levels or 256,
        seed=seed,
    )
    replaced = ", in place of an earlier one" if path.exists() else ""
    files.write(path, scores.as_csv(held, found, positive).encode())
    print(scores.table(vae, dataset, chosen, found, correction, num_samples, seed))
    if picture is not None and positive is not None:
        curve = roc(found.score, positive)
        print(f"AUROC {curve.area:.4f}, {int(positive.sum()):,} anomalies of {len(held):,} items")
        rates = (curve.false_positive_rate, curve.true_positive_rate)
        plots.save(plots.roc(*rates, curve.area), picture)
        print(picture)
    print(f"{path}{replaced}")


def compress(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Print the ideal code length of the data, -ELBO in bits, and that of PNG and gzip.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run, the only ones saved.
        part: part of the data; by default test, or if there is none, validation or train.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae.cli import reports
    from pvae.evaluation import compression

    opened, vae, dataset, chosen = open_run(run, data, device, part)
    if data is None:
        opened.place("compression.json")  # raises before any work
    found = compression(vae, dataset, chosen, seed=seed)
    record = reports.compression(vae, dataset, chosen, found, seed)
    print(reports.compression_table(record))
    if data is None:
        opened.write("compression.json", record)
