"""The ELBO with a weight on the total correlation of its latents."""

import torch
from pyro.poutine import Trace
from torch import Tensor

from pvae.checks import check_number, check_size
from pvae.messages import shown
from pvae.objectives.objective import (
    Objective,
    factor,
    latents,
    log_likelihood,
    name_of,
    shares,
    weighs_each,
    weights,
)

SAMPLINGS = ("weighted", "stratified")


class BetaTC(Objective):
    r"""The ELBO with its total correlation weighted by beta, beta-TCVAE (Chen et al. 2018).

    The KL term, averaged over the data, has three parts,

    .. math::
        \underbrace{KL(q(z, n) \,\|\, q(z) p(n))}_{\text{information}}
        + \beta\, \underbrace{KL(q(z) \,\|\, \textstyle\prod_j q(z_j))}_{\text{total correlation}}
        + \underbrace{\textstyle\sum_j KL(q(z_j) \,\|\, p(z_j))}_{\text{each latent}}

    with q(z) the average of q(z|x) over the N data. It is estimated from the minibatch at one draw
    per datum:

    - ``weighted``: :math:`q(z) \approx \frac{1}{N B} \sum_j q(z|x_j)`, which is biased but
      keeps the ranking.
    - ``stratified``: the datum that z was drawn for counts as one in N, the others stand for the
      rest; it needs data of equal weights.

    beta = 1 is the ELBO, estimated as `Trace_ELBO` does. Any prior is allowed; the last
    part is the remainder, :math:`\sum_j \log q(z_j) - \log p(z)`.

    Args:
        data_size: the number N of data trained on.
        beta: the weight of the total correlation, at least 0.
        sampling: ``"weighted"`` or ``"stratified"``.

    Raises:
        ValueError: if data_size is below 1, beta is negative, or the sampling unknown; and from a
            step, if the posterior is not independent over the latents, the minibatch is larger
            than the data, or the data have weights that ``stratified`` does not take.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import BetaTC
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = BetaTC(data_size=1000, beta=6.0).loss(
        ...     vae.model, vae.guide, torch.ones(5, 1, 8, 8)
        ... )
    """

    def __init__(self, data_size: int, beta: float = 6.0, sampling: str = "weighted") -> None:
        check_size("data_size", data_size)
        if not 0 <= check_number("beta", beta) < float("inf"):
            raise ValueError(
                f"beta is {beta}: the weight of the total correlation must be finite and at "
                "least 0."
            )
        if sampling not in SAMPLINGS:
            raise ValueError(
                f"sampling is {shown(sampling)}: it must be one of "
                f"{', '.join(map(repr, SAMPLINGS))}."
            )
        super().__init__()
        self.data_size = data_size
        self.beta = beta
        self.sampling = sampling

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        loss = -log_likelihood(model_trace)
        for q, p in latents(model_trace, guide_trace):
            information, correlation, each = self._parts(q, p)
            loss = loss + information + self.beta * correlation + each
        return loss

    def _parts(self, q: dict, p: dict) -> tuple[Tensor, Tensor, Tensor]:
        """The three parts of the KL of a site, summed over the minibatch."""
        single = factor(q["fn"])
        if single is None:
            raise ValueError(
                f"BetaTC needs a posterior that is independent over the latents, as "
                f"DiagonalNormal: that of {q['name']!r}, {name_of(q['fn'])}, is not."
            )
        batch, event = q["fn"].batch_shape, q["fn"].event_shape
        n = batch.numel()
        z = q["value"].reshape(n, *(1,) * len(batch), *event)
        # log q(z_i|x_j) of each latent: drawn for row i, under the posterior of column j
        table = single.log_prob(z).reshape(n, n, -1)
        log_weights, weight = self._log_weights(table, q), weights(q)
        log_q_z = weight @ (table.sum(-1) + log_weights).logsumexp(1)
        log_q_each = weight @ (table + log_weights.unsqueeze(-1)).logsumexp(1).sum(-1)
        log_q, log_p = q["log_prob"].sum(), p["log_prob"].sum()
        return log_q - log_q_z, log_q_z - log_q_each, log_q_each - log_p

    def _log_weights(self, table: Tensor, q: dict) -> Tensor:
        """The log-weights of the posteriors of the data in q(z), shape (n, n)."""
        n, total = table.shape[0], self.data_size
        if n > total:
            raise ValueError(f"data_size is {total}: it must be at least the {n} of a minibatch.")
        if self.sampling == "weighted" or n == 1:
            return (shares(q) / total).log().expand(n, n)
        if weighs_each(q):
            raise ValueError(
                "BetaTC with sampling='stratified' needs data of equal weights, and these have a "
                "scale or a mask of their own: choose sampling='weighted'."
            )
        own = torch.eye(n, dtype=table.dtype, device=table.device)
        last = own.roll(1, dims=1)  # stands for all that are not in the minibatch
        rest = 1 - own - last
        others = n - 1
        weights = own / total + rest / others + last * (total - others) / (total * others)
        return weights.log()
