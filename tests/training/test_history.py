import pytest

from pvae.training import History

ROWS = [
    {"epoch": 1, "loss": 5.0, "validation/neg_elbo": 5.0},
    {"epoch": 2, "loss": 4.0, "validation/neg_elbo": 4.5},
    {"epoch": 3, "loss": 3.0, "validation/neg_elbo": 4.7},
]


def test_columns():
    history = History(ROWS)
    assert list(history) == ["epoch", "loss", "validation/neg_elbo"]
    assert history["loss"] == [5.0, 4.0, 3.0]
    assert history.best_epoch == 2
    with pytest.raises(KeyError):
        history["nope"]


def test_why_an_epoch_was_kept():
    assert History(ROWS).why_kept == "lowest validation −ELBO, 4.50 nats"
    history = History(ROWS, keep="last")
    assert (history.kept_epoch, history.why_kept) == (3, "the last")
    assert history.best_in_words == "lowest validation −ELBO, 4.50 nats"


def test_without_validation_the_last_epoch_is_best():
    assert History([{"epoch": 1, "loss": 5.0}, {"epoch": 2, "loss": 6.0}]).best_epoch == 2
    assert History([{"epoch": 1, "loss": 5.0}]).why_kept == "the last"
    assert History([]).best_epoch is None
