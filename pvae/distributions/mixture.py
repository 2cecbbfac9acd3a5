"""A mixture of distributions of one family."""

import pyro.distributions as dist
from pyro.distributions import constraints


class Mixture(dist.MixtureSameFamily):
    r"""Torch's mixture p(z) = sum_k w_k p_k(z), with the support of its components.

    Torch wraps the support in a constraint of its own; here it is the constraint of the
    components.

    Args:
        weights: a `Categorical` of K categories, of batch shape batch.
        components: of batch shape (\*batch, K).

    Raises:
        ValueError: if the numbers of weights and components differ.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import Mixture
        >>> components = dist.Normal(torch.randn(10, 2), 1.0).to_event(1)
        >>> p = Mixture(dist.Categorical(logits=torch.zeros(10)), components)
        >>> p.event_shape, p.support.check(torch.zeros(2))
        (torch.Size([2]), tensor(True))
    """

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """The support of the components."""
        return self.component_distribution.support
