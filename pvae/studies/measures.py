"""What to measure of each run; without torch, so that help is instant."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measures:
    """What to measure.

    Attributes:
        metrics: names of `pvae.studies.metrics.METRICS`.
        num_samples: importance samples for ``log_prob``.
        items: items of the test part that are measured; 0 for all.
        ais_items: of these, items for which AIS checks ``log_prob``; 0 for none.
        seed: of the random draws, the same for every run, so that values are paired.
    """

    metrics: tuple[str, ...] = ("neg_elbo", "reconstruction", "kl", "log_prob", "active_units")
    num_samples: int = 500
    items: int = 1000
    ais_items: int = 0
    seed: int = 0
