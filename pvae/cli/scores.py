"""The table and records of anomaly scores, as `pvae score` prints and writes them."""

import csv
import io
from collections.abc import Sequence

import torch
from torch import Tensor

from pvae.cli.reports import named, settings
from pvae.data.dataset import Dataset, Part
from pvae.evaluation import AnomalyScore
from pvae.messages import shorten
from pvae.vae import VAE


def members(dataset: Dataset, part: Part, labels: Sequence[int | str]) -> Tensor:
    """A mask of the items with one of the labels, given by number or class name.

    Raises:
        ValueError: if the data have no classes, there is no such label, or no item or every one
            has it.
    """
    if part.y is None or part.y.dim() > 1:
        raise ValueError(
            f"The data {dataset.name} have no classes of which some could be anomalies: leave "
            "--anomalous out."
        )
    names = {str(name): i for i, name in enumerate(dataset.classes or ())}
    known = {str(i): i for i in part.y.unique().tolist()} | names
    wanted = [str(label) for label in labels]
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ValueError(
            f"There is no label {unknown[0]!r}: choose from {shorten(', '.join(known), 150)}; "
            "several go into a list, such as [0,3]."
        )
    found = torch.isin(part.y, torch.tensor([known[label] for label in wanted]).long())
    if found.all() or not found.any():
        raise ValueError(
            f"{int(found.sum()):,} of the {len(part):,} items are anomalous: give labels of some "
            "but not of all."
        )
    return found


def table(
    vae: VAE,
    dataset: Dataset,
    part: str,
    found: AnomalyScore,
    correction: str | None,
    num_samples: int,
    seed: int,
) -> str:
    """Quartiles of the scores and of log p(x)."""
    score = "anomaly score" + (f", corrected by {correction}" if correction else "")
    lines = [f"{named(settings(vae, dataset, seed))}, {part}, {len(found.score):,} items"]
    lines[0] += f", {num_samples:,} importance samples"
    lines.append(f"{'':<{len(score)}}{'25 %':>12}{'median':>12}{'75 %':>12}")
    for name, values in (("log p(x)", found.log_prob), (score, found.score)):
        quartiles = values.double().cpu().quantile(torch.tensor([0.25, 0.5, 0.75]).double())
        row = "".join(f"{q:>12.3f}" for q in quartiles.tolist())
        lines.append(f"{name:<{len(score)}}{row}")
    if share := found.unreliable_share:
        lines.append(
            f"k-hat is above 0.7 for {100 * share:.1f} % of the items: their log p(x) is a lower "
            "bound, its error unknown. More --num_samples help."
        )
    return "\n".join(lines)


def as_csv(part: Part, found: AnomalyScore, positive: Tensor | None) -> str:
    """A row for each item: its file or number, log p(x), score, label and anomaly if known."""
    columns = {
        "item": part.files or range(len(part)),
        "log_prob": found.log_prob.tolist(),
        "score": found.score.tolist(),
    }
    if part.y is not None and part.y.dim() == 1:
        columns["label"] = part.y.tolist()
    if positive is not None:
        columns["anomalous"] = positive.int().tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
