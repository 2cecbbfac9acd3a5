"""Base classes of objectives with a discriminator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro.params import param_with_module_name
from torch import Tensor, nn
from torch.func import functional_call

from pvae.checks import check_size
from pvae.networks.mlp import MLP
from pvae.objectives.objective import Objective, rows
from pvae.seeds import seeded


class Discriminating(Objective):
    r"""Base class of objectives with a discriminator, which they train with the VAE.

    Args:
        make: makes the discriminator.
        seed: of its initial weights, as in `pvae.build`.

    Attributes:
        discriminator: the network.
    """

    def __init__(self, make: Callable[[], nn.Module], seed: int | None) -> None:
        super().__init__()
        self.seed = seed
        with seeded(seed, torch.get_default_device()):
            self.discriminator = make()

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the discriminator."""
        return self.discriminator.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the discriminator."""
        return self.discriminator.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of a discriminator of the same sizes."""
        self.discriminator.load_state_dict(state)

    def to(self, *args: Any, **kwargs: Any) -> "Discriminating":
        """Move the discriminator to a device or dtype, as `torch.nn.Module.to` does."""
        self.discriminator.to(*args, **kwargs)
        return self

    def _fixed(self, x: Tensor) -> Any:
        """The discriminator's output, with gradients by x and not by its parameters."""
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        return functional_call(self.discriminator, fixed, x)

    def _register(self, x: Tensor) -> None:
        """Make the discriminator ready for x, and its parameters known to Pyro."""
        first = next(self.parameters())
        if first.dtype != x.dtype or first.device != x.device:
            self.to(device=x.device, dtype=x.dtype)
        # As for the parts of a VAE: the store takes the parameters that are, not those of another
        # discriminator that it met before.
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        for name, parameter in self.discriminator.named_parameters():
            full_name = param_with_module_name("discriminator", name)
            if held.get(full_name, parameter) is not parameter:
                del store[full_name]
            pyro.param(full_name, parameter)


class DiscriminatingLatents(Discriminating):
    r"""Base class of objectives whose discriminator sees z.

    Args:
        latent_dim: the number of latents.
        hidden: sizes of the discriminator's hidden layers.
        seed: of its initial weights, as in `pvae.build`.

    Attributes:
        discriminator: maps z of shape (\*batch, latent_dim) to a logit of shape (\*batch, 1).

    Raises:
        ValueError: if a size is below 1.
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int], seed: int | None) -> None:
        self.latent_dim = check_size("latent_dim", latent_dim)
        self.hidden = hidden
        super().__init__(lambda: MLP((latent_dim,), (1,), hidden, activation="leaky_relu"), seed)

    def _latents(self, sites: list[dict]) -> Tensor:
        """The latents of all sites, shape (n, d), with the discriminator made ready for them.

        Raises:
            ValueError: if the VAE has another number of latents.
        """
        z = rows(sites)
        if z.shape[-1] != self.latent_dim:
            raise ValueError(
                f"latent_dim is {self.latent_dim}: the VAE has {z.shape[-1]} latents, the "
                "objective must have as many."
            )
        self._register(z)
        return z
