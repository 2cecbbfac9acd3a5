"""A note on the latents that a trained VAE does not use."""

from pyro.distributions import Delta
from torch import Tensor
from torch.distributions import kl_divergence

from pvae.data.batches import Batches
from pvae.evaluation.decomposition import active_units
from pvae.objectives.objective import factor
from pvae.seeds import seeded
from pvae.vae import VAE

MOST_LOOKED_AT = 1000  # items
MOST_SHOWN = 10  # latents
UNUSED = 0.01  # nats of KL per latent
REMEDIES = ("a longer warmup", "FreeBits", "BetaELBO with a beta below 1")  # against a large KL


def unused_latents(vae: VAE, batches: Batches) -> str | None:
    """Return a sentence on the latents that a VAE does not use; ``None`` if it uses them all.

    A latent is unused if its posterior mean does not vary over the data (see
    `pvae.evaluation.active_units`), or if its KL is below 0.01 nats. ``None`` also if neither can
    be computed.

    Args:
        vae: the VAE.
        batches: the data; the first 1,000 are used.
    """
    if vae.latent_shape.numel() == 0 or len(batches.part) < 2:
        return None
    arguments = batches.first(MOST_LOOKED_AT)[: 1 if vae.classifier else 2]  # labels may be unknown
    try:
        active = active_units(vae, *arguments, progress=False).active.flatten().cpu()
        kl = _kl_by_latent(vae, arguments)
    except (ValueError, NotImplementedError):
        return None
    if kl is not None and len(kl) == len(active):
        active = active & (kl.cpu() >= UNUSED)
    count = int(active.sum())
    if count == len(active):
        return None
    by_latent = ""
    if kl is not None:
        shown = ", ".join(f"{nats:.2f}" for nats in kl.sort(descending=True).values[:MOST_SHOWN])
        more = ", ..." if len(kl) > MOST_SHOWN else ""
        by_latent = f" (KL by latent: {shown}{more} nats)"
    used = f"Only {count} of {len(active)} latents {'is' if count == 1 else 'are'}"
    said = f"{used if count else 'No latent is'} used{by_latent}"
    if count:
        said += f"; of the others the mean hardly varies or the KL is below {UNUSED} nats"
    few = count <= len(active) // 2
    remedies = ["more epochs"]
    if not _is_point(vae, arguments):
        # FreeBits has no weights of data, which unknown labels need.
        remedies += [each for each in REMEDIES if each != "FreeBits" or vae.classifier is None]
    if few:
        remedies.append("fewer latents")
    aim = "to use more" if few else "if the data need more"
    joined = " or ".join(filter(None, (", ".join(remedies[:-1]), remedies[-1])))
    return f"{said}; {aim}, try {joined}."


def _is_point(vae: VAE, arguments: tuple[Tensor, ...]) -> bool:
    """Whether the posterior is a point, such as a code, which has no KL to weigh."""
    with vae.evaluating():
        return isinstance(vae.encode(*(each[:1] for each in arguments)), Delta)


def _kl_by_latent(vae: VAE, arguments: tuple[Tensor, ...]) -> Tensor | None:
    """The mean KL of each latent, shape (d,), if posterior and prior are independent ones."""
    x, *y = arguments
    with vae.evaluating(), seeded(0, vae.device):
        q, p = vae.encode(x, *y), vae.p_z(*y)
        of_q, of_p = factor(q), factor(p)
        if of_q is None or of_p is None or of_q.event_shape != of_p.event_shape:
            return None
        try:
            kl = kl_divergence(of_q, of_p)
        except NotImplementedError:
            z = q.sample()
            kl = of_q.log_prob(z) - of_p.log_prob(z)
        return kl.reshape(len(x), -1).mean(0)
