"""Base class of objectives with a discriminator of latents."""

from collections.abc import Iterator, Mapping, Sequence
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
    r"""Base class of objectives with a discriminator of latents, which they train with the VAE.

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
        super().__init__()
        self.latent_dim = check_size("latent_dim", latent_dim)
        self.hidden = hidden
        self.seed = seed
        with seeded(seed, torch.get_default_device()):
            self.discriminator = MLP((latent_dim,), (1,), hidden, activation="leaky_relu")

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

    def _fixed(self, z: Tensor) -> Tensor:
        """The logits of z, with gradients by z and not by the discriminator's parameters."""
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        return functional_call(self.discriminator, fixed, z)

    def _register(self, z: Tensor) -> None:
        first = next(self.parameters())
        if first.dtype != z.dtype or first.device != z.device:
            self.to(device=z.device, dtype=z.dtype)
        # As for the parts of a VAE: the store takes the parameters that are, not those of another
        # discriminator that it met before.
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        for name, parameter in self.discriminator.named_parameters():
            full_name = param_with_module_name("discriminator", name)
            if held.get(full_name, parameter) is not parameter:
                del store[full_name]
            pyro.param(full_name, parameter)
