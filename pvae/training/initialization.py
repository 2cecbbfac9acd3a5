"""Initialization of the parts of a VAE from data."""

from torch import Tensor, nn

from pvae.data.batches import Batches
from pvae.interfaces import option
from pvae.vae import VAE

MOST_AVERAGED = 1000  # train items whose mean initializes the likelihood
MOST_SHOWN = 5000  # train items that initialize prior and posterior


def begin_at_data(vae: VAE, train: Batches, seed: int) -> None:
    """Initialize labels and trained parts from data, if they support it.

    Args:
        vae: the VAE.
        train: the training data.
        seed: of the items that prior and posterior see.
    """
    if vae.labels is not None and train.labels is not None:
        vae.labels.initialize(train.labels)

    def some() -> Tensor:
        return vae.features(train.some(MOST_SHOWN, seed)).nan_to_num()  # of padding

    for part, data in {
        vae.likelihood: lambda: _mean(vae, train.head(MOST_AVERAGED)),
        vae.prior: some,
        vae.posterior: some,
    }.items():
        initialize = option(part, "initialize")
        if initialize and _is_learned(vae, part):
            initialize(data())
    if vae.weights is not None and any(p.requires_grad for p in vae.weights.parameters()):
        vae.weights.begin(vae)


def _mean(vae: VAE, x: Tensor) -> Tensor:
    """The mean of the data, without padding."""
    return x.nanmean(0) if option(vae.likelihood, "padded") else x.mean(0)


def _is_learned(vae: VAE, part: nn.Module) -> bool:
    """Whether parameters of a part are trained, or have a posterior that is."""
    uncertain = [] if vae.weights is None else map(vae.get_parameter, vae.weights.names)
    known = {id(p) for p in uncertain}
    return any(p.requires_grad or id(p) in known for p in part.parameters())
