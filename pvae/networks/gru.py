"""The gated recurrent network, from a sequence to a code or from a code to a sequence."""

import torch
from torch import Tensor, nn

from pvae.annotations import Shape
from pvae.checks import check_shape, check_size
from pvae.distributions.padded import padding
from pvae.networks.shapes import batched


class GRU(nn.Module):
    r"""A gated recurrent network (Cho et al. 2014), from a sequence to a code or back.

    .. math::
        h_t = (1 - u_t) \odot n_t + u_t \odot h_{t+1}, \quad
        u_t, r_t = \mathrm{sigmoid}(W (x_t, h_{t+1}) + b), \quad
        n_t = \tanh(W' x_t + b' + r_t \odot (V h_{t+1} + c))

    The shapes decide which of the two: the one with two sizes is the sequence (T, D), T steps of D
    values. An encoder reads it from its end to its start, as the smoothing posterior of a state
    space needs it, so that h_t has read x_t, ..., x_T; the code is a linear function of h_1, which
    has read everything. A decoder reads the code at every step, from the start on, and returns a
    linear function of each state.

    With ``state_dim`` the code is one of T states, one after the other, as the z of a
    `pvae.priors.StateSpace` is: an encoder returns a linear function of each h_t for state t, and a
    decoder maps each state to its step by the same network of one hidden layer, since what
    connects the steps is the prior. Anything after the states, as labels are, goes to every step.

    *Lengths.* Steps of NaN at the end of a sequence, which pad it, are not read. Data of several
    lengths need a likelihood `pvae.likelihoods.Padded`.

    Args:
        in_shape: event shape of the input, (T, D) or (d,).
        out_shape: event shape of the output, (d,) or (T, D).
        hidden: the size of h.
        state_dim: the number of latents of a state; ``None`` for one code of the whole sequence.

    Shape:
        (\*batch, \*in_shape) to (\*batch, \*out_shape), with any batch dimensions.

    Raises:
        ValueError: if not exactly one of the shapes is a sequence, the code is not one of T states
            of state_dim latents, or a size is below 1.

    Example:
        >>> import torch
        >>> from pvae.networks import GRU
        >>> GRU((24, 5), (4,))(torch.zeros(7, 24, 5)).shape
        torch.Size([7, 4])
        >>> GRU((48,), (24, 5), state_dim=2)(torch.zeros(7, 48)).shape
        torch.Size([7, 24, 5])
    """

    reads_padding = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: int = 128,
        state_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape("in_shape", in_shape)
        self.out_shape = check_shape("out_shape", out_shape)
        check_size("hidden", hidden)
        if sorted(map(len, (self.in_shape, self.out_shape))) != [1, 2]:
            raise ValueError(
                f"GRU joins a sequence (T, D) and a code (d,), but was given {self.in_shape} and "
                f"{self.out_shape}: use Conv or ResNet for images, MLP for other data."
            )
        self.encodes = len(self.in_shape) == 2
        (self.steps, size), (code,) = sorted((self.in_shape, self.out_shape), key=len)[::-1]
        self.state_dim = None if state_dim is None else check_size("state_dim", state_dim)
        states = self.steps * (self.state_dim or 0)
        if states and (code % states if self.encodes else code < states):
            raise ValueError(
                f"{self.steps} steps with states of {state_dim} latents have {states} latents, and "
                f"the code has {code} numbers: give latent_dim={states}, or state_dim=None for a "
                "code of the whole sequence."
            )
        self.first: nn.Module
        if states and not self.encodes:
            seen = code - states + (self.state_dim or 0)
            self.first = nn.Sequential(nn.Linear(seen, hidden), nn.ReLU())
        else:
            self.first = nn.GRU(size if self.encodes else code, hidden, batch_first=True)
        each = code // self.steps if states else code
        self.last = nn.Linear(hidden, each if self.encodes else size)

    @property
    def output_bias(self) -> Tensor | None:
        """The bias of a decoder's output: one value per channel; ``None`` for an encoder."""
        return None if self.encodes else self.last.bias

    def forward(self, x: Tensor) -> Tensor:
        r"""Map (\*batch, \*in_shape) to (\*batch, \*out_shape)."""
        return batched(self._encode if self.encodes else self._decode, x, len(self.in_shape))

    def _encode(self, x: Tensor) -> Tensor:
        steps = torch.arange(self.steps, device=x.device)
        pads = padding(x, 2)
        length = self.steps - pads.sum(1)
        # Both the steps that are read and the padding are reversed: twice is the identity.
        order = ((length - 1 - steps) % self.steps).unsqueeze(-1)
        h, _ = self.first(x.masked_fill(pads, 0).take_along_dim(order, 1))
        h = h.take_along_dim(order, 1).masked_fill(pads, 0)
        if self.state_dim is None:
            return self.last(h[:, 0])
        # All first numbers of the latents, then all second ones, as distributions split them.
        return self.last(h).unflatten(-1, (-1, self.state_dim)).movedim(2, 1).flatten(1)

    def _decode(self, z: Tensor) -> Tensor:
        if self.state_dim is None:
            h, _ = self.first(z.unsqueeze(1).expand(-1, self.steps, -1))
            return self.last(h)
        states, rest = z.tensor_split([self.steps * self.state_dim], 1)
        states = states.unflatten(1, (self.steps, -1))
        every = rest.unsqueeze(1).expand(-1, self.steps, -1)
        return self.last(self.first(torch.cat([states, every], -1)))
