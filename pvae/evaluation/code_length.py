"""The code length of images under a VAE, beside that of PNG and gzip."""

import gzip
import io
import math
from typing import NamedTuple

import numpy as np
import torch

from pvae.data.batches import AT_ONCE, batches_for
from pvae.data.dataset import Dataset
from pvae.data.domains import DEQUANTIZED
from pvae.evaluation.batching import check_vae
from pvae.evaluation.elbo import elbo
from pvae.evaluation.importance import proposal_of
from pvae.evaluation.summary import part_of
from pvae.seeds import seeded
from pvae.vae import VAE

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels


class CodeLength(NamedTuple):
    """The length of a code, in bits.

    Attributes:
        bits: per datum, on average.
        bits_per_dim: per element of a datum, on average.
    """

    bits: float
    bits_per_dim: float


class Compression(NamedTuple):
    """What the same data take in several codes.

    Attributes:
        neg_elbo: under the VAE, ideally.
        png: of one PNG with all images below each other; ``None`` if the data are no images.
        gzip: of one gzip stream with all data.
        png_files: of a PNG for each image; ``None`` if the data are no images.
        gzip_files: of a gzip file for each datum.
    """

    neg_elbo: CodeLength
    png: CodeLength | None
    gzip: CodeLength
    png_files: CodeLength | None
    gzip_files: CodeLength


def compression(
    vae: VAE, data: Dataset, part: str = "test", *, batch_size: int = AT_ONCE, seed: int = 0
) -> Compression:
    """Return the ideal code length of a part of the data under a VAE, and what files take.

    The negative ELBO in bits is what a bits-back code of the data takes (Townsend, Bird, Barber
    2019), if coding is without loss at any step; the VAE itself is not counted.

    All codes are of the same values. Under a likelihood of binary values they are the binarized
    images, by the draw that the ELBO is of, eight values to a byte in gzip, and of images of one
    channel in PNG; all others take a byte a value. Under a density the dequantized ELBO bounds the
    code length of the bytes (see `pvae.data.conversion.convert`). PNG is Pillow's with
    ``optimize``, gzip of level 9. Of small images a file each is mostly headers, and neither learns
    from the others: all in one is the fairer figure.

    Args:
        vae: the VAE.
        data: the data set.
        part: train, validation or test.
        batch_size: data taken at once.
        seed: of the random draws; the ELBO is that of `evaluate` with the same one.

    Raises:
        ValueError: if the data set has no such part, or they are neither binary nor bytes to the
            likelihood.

    Example:
        >>> import pvae
        >>> from pvae.evaluation import compression
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> found = compression(vae, data)
        >>> found.png.bits < found.png_files.bits
        True
    """
    check_vae(vae)
    held = part_of(data, part)
    domain, levels = vae.likelihood.domain, data.levels
    densities = DEQUANTIZED if levels is not None else ()
    if domain not in ("binary", "bytes", *densities):
        raise ValueError(
            f"The likelihood {type(vae.likelihood).__name__} is over {domain} and the data are "
            f"{data.domain}: a code length needs a mass of binary values or bytes, or a density "
            "of dequantized bytes."
        )
    dequantized = levels if domain in DEQUANTIZED else None
    nats, found = 0.0, []
    with vae.evaluating(), seeded(seed, vae.device):
        for arguments in batches_for(vae, data, held, batch_size).arguments():
            proposal_of(vae, *arguments)  # a point mass makes no code
            nats -= elbo(vae, *arguments).elbo.double().sum().item()
            # Dequantized bytes are (x + u) / levels, u between 0 and 1.
            x = arguments[0] if dequantized is None else arguments[0] * dequantized
            found.append(x.to(torch.uint8).cpu())
    values = torch.cat(found).numpy()
    if dequantized is not None:
        nats += values.size * math.log(dequantized)

    def length(bits: float) -> CodeLength:
        return CodeLength(bits / len(values), bits / values.size)

    binary = domain == "binary"
    is_image = values.ndim == 4 and values.shape[1] in _MODES
    files = [values[i : i + 1] for i in range(len(values))]
    return Compression(
        length(nats / math.log(2)),
        length(8 * len(png(values, binary))) if is_image else None,
        length(8 * len(_gzip(values, binary))),
        length(8 * sum(len(png(x, binary)) for x in files)) if is_image else None,
        length(8 * sum(len(_gzip(x, binary)) for x in files)),
    )


def png(x: np.ndarray, binary: bool = False) -> bytes:
    """A picture of images (n, C, H, W) below each other; of one bit where PNG can."""
    from PIL import Image

    channels = x.shape[1]
    if binary:
        x = x.astype(bool) if channels == 1 else 255 * x
    rows = x.transpose(0, 2, 3, 1).reshape(-1, x.shape[3], channels)
    image = Image.fromarray(np.ascontiguousarray(rows[..., 0] if channels == 1 else rows))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _gzip(x: np.ndarray, binary: bool) -> bytes:
    return gzip.compress((np.packbits(x) if binary else x).tobytes(), 9, mtime=0)
