"""A note on the latents that a trained VAE does not use."""

from pyro.distributions import Delta
from pyro.infer import ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from pvae.data.batches import Batches
from pvae.evaluation.decomposition import active_units
from pvae.interfaces import option
from pvae.objectives.beta import BetaELBO
from pvae.objectives.counting import nested
from pvae.objectives.free_bits import FreeBits
from pvae.objectives.objective import factor
from pvae.seeds import seeded
from pvae.vae import VAE

MOST_LOOKED_AT = 1000  # items
MOST_SHOWN = 10  # latents
UNUSED = 0.01  # nats of KL per latent
CONSTANT = 0.01  # variance of its posterior mean over the data


def unused_latents(vae: VAE, batches: Batches, objective: ELBO) -> str | None:
    """Return a sentence on the latents that a VAE does not use; ``None`` if it uses them all.

    A latent is unused if the variance of its posterior mean over the data is at most 0.01 (see
    `pvae.evaluation.active_units`), or if its KL is below 0.01 nats. ``None`` also if neither can
    be computed.

    Args:
        vae: the VAE.
        batches: the data; the first 1,000 are used.
        objective: by which it was trained.
    """
    if vae.latent_shape.numel() == 0 or len(batches.part) < 2:
        return None
    arguments = batches.first(MOST_LOOKED_AT)[: 1 if vae.classifier else 2]  # labels may be unknown
    try:
        found = active_units(vae, *arguments, threshold=CONSTANT, progress=False)
        active = found.active.flatten().cpu()
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
    said = f"{used if count else 'No latent is'} used{by_latent}: "
    others = "the other has" if count == len(active) - 1 else "the others have"
    said += f"{others if count else 'each has'} a posterior mean of variance below "
    said += f"{CONSTANT}" if kl is None else f"{CONSTANT} or a KL below {UNUSED} nats"
    few = count <= len(active) // 2
    remedies = ["more epochs"]
    if not _is_point(vae, arguments):
        remedies += _against_kl(objective, vae)
    if few:
        remedies.append("fewer latents")
    aim = "to use more" if few else "if the data need more"
    joined = " or ".join(filter(None, (", ".join(remedies[:-1]), remedies[-1])))
    return f"{said}; {aim}, try {joined}."


def _against_kl(objective: ELBO, vae: VAE) -> list[str]:
    """What gives the KL less weight than this objective does."""
    *_, inner = nested(objective)
    if isinstance(inner, FreeBits):
        return ["a longer warmup", "more free_nats"]
    if isinstance(inner, BetaELBO):
        lower, weighs = f"a beta below {inner.beta:g}", inner.beta > 0
    else:
        lower, weighs = "BetaELBO with a beta below 1", option(inner, "warms_up") is not False
    if not weighs:  # it has no KL, or holds it at a target of its own
        return []
    # FreeBits has no weights of data, which unknown labels need.
    return ["a longer warmup", lower] if vae.classifier else ["a longer warmup", "FreeBits", lower]


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
