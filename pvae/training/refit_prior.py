"""Fitting a new prior to a trained VAE."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from pvae.builder import check_factory
from pvae.seeds import seeded
from pvae.training.fit import fit
from pvae.training.history import History
from pvae.vae import VAE


def refit_prior(
    vae: VAE, data: Any, prior: Callable[[int], nn.Module], *, epochs: int = 20, **arguments: Any
) -> History:
    r"""Replace the prior of a trained VAE by one fitted to its aggregate posterior.

    The aggregate posterior, the average of q(z|x) over the data, usually differs from the prior
    that a VAE was trained with, and samples outside of it decode badly. With everything else
    frozen, the ELBO as a function of the prior is

    .. math::
        E_{x} E_{q(z|x)}[\log p(z)] + \text{const},

    so that `pvae.fit` makes the prior the best of its family for the aggregate posterior
    (Ghosh et al. 2020; Dai and Wipf 2019, with a `pvae.priors.Nested`).

    Args:
        vae: the VAE; only its prior is replaced.
        data: the data, as for `pvae.fit`.
        prior: called as ``prior(latent_dim)``, such as `pvae.priors.Mixture`.
        epochs: passes over the train part.
        **arguments: further arguments of `pvae.fit`, such as ``run`` or ``optimizer``.

    Returns:
        The history of the fit.

    Raises:
        TypeError: if the prior is not a class or another factory.
        ValueError: if the prior is over another space than the posterior, has no parameters, or
            the prior of the VAE sees labels or has uncertain weights.

    Example:
        >>> from functools import partial
        >>> import pvae
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> history = pvae.fit(vae, data, epochs=1, progress=False)
        >>> mixture = partial(pvae.priors.Mixture, components=5)
        >>> history = pvae.refit_prior(vae, data, mixture, epochs=1, progress=False)
        >>> type(vae.prior).__name__
        'Mixture'
    """
    if "prior" in vae.conditional:
        raise ValueError("The prior of this VAE sees its labels, which a new one would not.")
    check_factory("prior", prior)
    if vae.weights is not None and any(n.startswith("prior.") for n in vae.weights.names):
        raise ValueError("The weights of this VAE's prior are uncertain: a new one has others.")
    with seeded(arguments.get("seed", 0), vae.device):
        new = prior(vae.latent_shape.numel()).to(vae.device, vae.dtype)
        seen = vae.conditional or ("likelihood", "posterior")
        refitted = VAE(new, vae.likelihood, vae.posterior, vae.labels, seen, vae.classifier)
    refitted.weights = vae.weights
    if not any(p.requires_grad for p in new.parameters()):
        raise ValueError(f"The prior {type(new).__name__} has no parameters to fit.")
    # The configuration of the VAE with the new prior, which a run folder needs.
    if vae.arguments:
        refitted.arguments = {**vae.arguments, "prior": prior}
    with ExitStack() as stack:
        for name, part in refitted.named_children():
            if name != "prior":
                stack.enter_context(_frozen(part))
        # No KL warm-up: the KL is all that is trained.
        planned = {"epochs": epochs, "warmup": 0, "patience": None}
        history = fit(refitted, data, **planned | arguments)
    vae.prior = new
    if vae.arguments:
        vae.arguments = refitted.arguments
    return history


@contextmanager
def _frozen(part: nn.Module) -> Iterator[None]:
    """Freeze the weights of a part and keep it in evaluation mode while entered."""
    learned = [p for p in part.parameters() if p.requires_grad]
    mode = part.training
    part.requires_grad_(False).eval()
    part.train = lambda mode=True: part  # type: ignore[method-assign]  # until it is deleted
    try:
        yield
    finally:
        del part.train
        part.train(mode)
        for p in learned:
            p.requires_grad_(True)
