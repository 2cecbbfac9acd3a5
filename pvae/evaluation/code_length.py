"""The code length of data under a VAE, compared with PNG and gzip."""

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
    """The lengths of several codes of the same data.

    Attributes:
        neg_elbo: the ideal code under the VAE.
        png: one PNG with all images below each other; ``None`` if the data are not images.
        gzip: one gzip stream with all data.
        png_files: a PNG for each image; ``None`` if the data are not images.
        gzip_files: a gzip file for each datum.
    """

    neg_elbo: CodeLength
    png: CodeLength | None
    gzip: CodeLength
    png_files: CodeLength | None
    gzip_files: CodeLength


def compression(
    vae: VAE, data: Dataset, part: str = "test", *, batch_size: int = AT_ONCE, seed: int = 0
) -> Compression:
    """Return the ideal code length of a part of the data under a VAE, and of PNG and gzip.

    The negative ELBO in bits is the length of an ideal bits-back code of the data (Townsend, Bird,
    Barber 2019); the VAE itself is not counted.

    All codes are of the same values. For a binary likelihood these are the binarized images of the
    ELBO's draw, eight values per byte in gzip, and for images of one channel in PNG; all others
    take one byte per value. For a density the dequantized ELBO bounds the code length of the bytes
    (see `pvae.data.conversion.convert`). PNG is Pillow's with ``optimize``, gzip has level 9.
    Separate files of small images consist mostly of headers, so one file for all is the fairer
    comparison.

    Args:
        vae: the VAE.
        data: the data set.
        part: train, validation or test.
        batch_size: data taken at once.
        seed: of the random draws; the ELBO is that of `evaluate` with the same one.

    Raises:
        ValueError: if the data set has no such part, or is neither binary nor bytes for the
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
            proposal_of(vae, *arguments)  # raises for a point mass, which has no code
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
    """A PNG of images (n, C, H, W) below each other; of one bit if PNG supports it."""
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
