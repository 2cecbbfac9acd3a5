"""Values as the page draws them: the bytes of pictures, or the numbers of vectors."""

import base64
import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pvae.data.conversion import convert
from pvae.data.dataset import Dataset
from pvae.data.domains import domain_of, picture_range
from pvae.data.images import to_bytes
from pvae.explore.centring import find_centring
from pvae.interfaces import option
from pvae.messages import shorten
from pvae.plots.classes import colours
from pvae.seeds import seeded
from pvae.vae import VAE


class Frames:
    """How data of a VAE are drawn: as pictures, lines over the steps of sequences, or bars.

    Args:
        vae: the VAE.
        data: its data.
        x: some data in the domain of the likelihood, whose range bars show.

    Attributes:
        pictures: whether the data are images of 1 or 3 channels.
        low: the value shown as black, or the bottom of the bars.
        high: the value shown as white, or the top of the bars.
        paper: 1 if pictures are mostly white at their edges, and 0 if black, as a new one begins.
        centring: how characters on blank paper are placed; ``None`` for other data.
        binarization: how grey values became 0 or 1; ``None`` if they did not.
    """

    def __init__(self, vae: VAE, data: Dataset, x: Tensor) -> None:
        self.vae = vae
        self.data = data
        self.event_shape = tuple(vae.event_shape)
        self.pictures = len(self.event_shape) == 3 and self.event_shape[0] in (1, 3)
        self.low, self.high = picture_range(vae.likelihood, data.domain, data.value_range)
        binary = domain_of(vae.likelihood) == "binary" and data.domain != "binary"
        self.binarization = data.binarization if binary else None
        self.paper = 0.0
        if self.pictures:
            edges = torch.cat([x[..., 0, :].flatten(), x[..., -1, :].flatten()]).float().mean()
            self.paper = float(edges.item() > (self.low + self.high) / 2)
        self.centring = None
        if self.pictures and self.event_shape[0] == 1:
            unit = ((x[:, 0].float() - self.low) / (self.high - self.low)).clamp(0, 1)
            self.centring = find_centring((unit - self.paper).abs())
        if not self.pictures and (self.low, self.high) != (0.0, 1.0):
            values = x.flatten()[: 2**20].double().cpu().numpy()
            low, high = np.nanquantile(values, [0.005, 0.995])  # without padding
            self.low, self.high = float(min(low, 0.0)), float(max(high, low + 1e-6, 0.0))

    def describe(self) -> dict[str, Any]:
        """What the page needs to know to draw frames, and to make new ones."""
        known: dict[str, Any] = {
            "pictures": self.pictures,
            "size": int(np.prod(self.event_shape)),
            "low": self.low,
            "high": self.high,
            "log": option(self.vae.likelihood, "domain") == "counts" and not self.pictures,
        }
        if self.pictures:
            channels, height, width = self.event_shape
            known |= {"channels": channels, "height": height, "width": width, "paper": self.paper}
            known["centring"] = None if self.centring is None else self.centring._asdict()
        else:
            names = self.data.columns or ()
            steps_of_values = len(self.event_shape) == 2
            known["lines"] = colours(self.event_shape[1]).tolist() if steps_of_values else []
            known["columns"] = [shorten(name, 60) for name in names]
            known["element"] = "column" if len(self.event_shape) == 1 else "value"
        return known

    def pack(self, x: Tensor, most: int | None = None) -> dict[str, Any]:
        r"""Pack a batch for the page.

        Args:
            x: shape (n, \*event_shape).
            most: shrink pictures to at most so many pixels a side.

        Returns:
            ``count`` and ``data``: in base64, for pictures the bytes of ``count`` × ``height`` ×
            ``width`` × ``channels``, for vectors ``count`` × ``size`` floats of 32 bits.
        """
        x = x.detach().cpu().float()
        if not self.pictures:
            values = x.flatten(1).numpy().astype("<f4")
            return {"count": len(x), "size": values.shape[1], "data": _base64(values)}
        scaled = (x - self.low) / (self.high - self.low)
        side = max(self.event_shape[1:])
        if most is not None and side > most:
            size = [max(1, round(s * most / side)) for s in self.event_shape[1:]]
            scaled = torch.nn.functional.interpolate(scaled, size=size, mode="area")
        pixels = (scaled.nan_to_num() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        _, height, width, channels = pixels.shape
        shape = {"count": len(x), "height": height, "width": width, "channels": channels}
        return shape | {"data": _base64(pixels.contiguous().numpy())}

    def unpack(self, pixels: bytes) -> Tensor:
        """Convert the bytes of one picture to the domain of the likelihood, as in training.

        Raises:
            ValueError: if the data are no pictures, or the bytes are not of one.
        """
        channels, height, width = self._picture_shape()
        expected = channels * height * width
        if len(pixels) != expected:
            raise ValueError(
                f"The picture has {len(pixels):,} values: this model takes {height} × {width} "
                f"pixels of {channels} channel{'s' if channels > 1 else ''}, {expected:,} values."
            )
        flat = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
        unit = flat.view(height, width, channels).permute(2, 0, 1).float() / 255
        domain, (low, high) = self.data.domain, self.data.value_range
        if domain == "binary":
            stored = (unit > 0.5).to(torch.uint8)
        elif domain in ("unit interval", "open unit interval"):
            stored = unit.clamp(low, high)
        else:
            stored = low + unit * (high - low)
            stored = stored.round() if domain in ("bytes", "counts") else stored
            stored = stored.byte() if domain == "bytes" else stored
        with seeded(0, torch.device("cpu")):
            x = convert(
                stored,
                domain,
                (low, high),
                domain_of(self.vae.likelihood),
                "threshold" if self.data.binarization == "threshold" else "dynamic",
            )
        return x.to(self.vae.dtype)

    def _picture_shape(self) -> tuple[int, int, int]:
        """Channels, height and width.

        Raises:
            ValueError: if the data are no pictures.
        """
        if not self.pictures:
            raise ValueError(
                "This model is over vectors of numbers, not pictures: choose one of its own data."
            )
        channels, height, width = self.event_shape
        return channels, height, width

    def read_picture(self, content: bytes, most_pixels: int) -> dict[str, Any]:
        """Decode an image file, and crop and resize it to the shape of the data.

        Raises:
            ValueError: if it is no picture, has too many pixels, or the data are no pictures.
        """
        from PIL import Image, UnidentifiedImageError

        channels, height, width = self._picture_shape()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > most_pixels:
                raise ValueError(
                    f"The picture has {image.width:,} × {image.height:,} pixels: give one of at "
                    f"most {most_pixels // 1_000_000} million."
                )
            pixels = to_bytes(image, (height, width), True, 1 if channels == 1 else 3)
        except UnidentifiedImageError as error:
            raise ValueError(
                "The file is no picture that can be read: give a PNG, JPEG, GIF, BMP or WebP file."
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError("The picture has too many pixels: give a smaller one.") from error
        except (OSError, SyntaxError, EOFError) as error:
            raise ValueError("The picture is damaged or cut off: give a whole file.") from error
        data = _base64(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        return {"count": 1, "height": height, "width": width, "channels": channels, "data": data}


FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
