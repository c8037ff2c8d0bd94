"""One image file as an array, by Pillow."""

import warnings
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dbmpi.arrays import Array
from dbmpi.prepare import regular

CROP, PAD, STRETCH = FITS = ("crop", "pad", "stretch")
TEN_BITS_AND_MORE = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class NoPicture(Exception):
    """A file gives no image; the text says why."""


@dataclass(frozen=True)
class Form:
    """What all images are made to be.

    Attributes
    ----------
    size
        Height and width; None to take each as it is.
    grey
        Whether (H, W), else (H, W, 3): red, green, blue.
    fit
        Of an image of other proportions: "crop" its middle, "pad" it with black, or "stretch" it.
    """

    size: tuple[int, int] | None = None
    grey: bool = False
    fit: str = CROP

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array, where the size is known."""
        assert self.size is not None
        return self.size if self.grey else (*self.size, 3)


def read_picture(path: str, form: Form) -> Array:
    """Read one image, uint8 (H, W) or (H, W, 3). Raises NoPicture.

    A JPEG that is much larger than wanted is decoded at an eighth, a quarter or half of its size (`draft`),
    which is faster and changes pixels slightly. An image is turned as its camera says; transparency is lost.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # of what Pillow can do without
            with regular.opened(path) as file, Image.open(file) as image:
                return np.asarray(_fitted(image, form))
    except UnidentifiedImageError as error:
        raise NoPicture("it is none, or damaged, or of a format that Pillow does not know") from error
    except Exception as error:  # of a damaged file Pillow raises anything
        raise NoPicture(regular.reason(error)) from error


def _fitted(image: Image.Image, form: Form) -> Image.Image:
    mode = "L" if form.grey else "RGB"
    if form.size is not None and image.format == "JPEG":
        height, width = form.size
        side = max(height, width)  # the image may be turned yet
        image.draft(mode, (side, side))
    turned = _bytes(_turned(image)).convert(mode)
    if form.size is None:
        return turned
    size = form.size[::-1]
    if form.fit == CROP:
        return ImageOps.fit(turned, size, Image.Resampling.BILINEAR)
    if form.fit == PAD:
        return ImageOps.pad(turned, size, Image.Resampling.BILINEAR)
    return turned.resize(size, Image.Resampling.BILINEAR)


def _turned(image: Image.Image) -> Image.Image:
    """Return an image as its camera was held; Pillow's own function would copy those that need no turn."""
    upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    return image if upright else ImageOps.exif_transpose(image)


def _bytes(image: Image.Image) -> Image.Image:
    """Return an image of bytes: Pillow's own conversion would cut 16 bits at 255."""
    if image.mode not in TEN_BITS_AND_MORE:
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
