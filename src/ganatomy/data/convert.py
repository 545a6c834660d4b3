"""Conversion of images that are not 8-bit gray or RGB, by one policy.

Transparent pixels are put on a background of white or black. Of 16 bits, the upper 8 are kept. CMYK
becomes sRGB by the embedded color profile, or else by Pillow's formula without one.
"""

import io
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

Convert = Literal["none", "white", "black"]
"""Background of transparent pixels; none refuses every image that would have to be converted."""

FLAG = "--convert white"
"""Advice for what can be converted; messages that hold it are counted as such."""

SAVE = "save it as gray or RGB of 8 bits"


def to_8_bits(image: Image.Image, convert: Convert) -> Image.Image:
    """Convert an image of more than 8 bits a channel, which Pillow has cut if it is not gray.

    Raises:
        ValueError: with the fault, in words that follow the name of the file.
    """
    wide = image.mode == "I" and image.format != "PPM"
    if wide or image.mode == "F":
        raise ValueError(f"has 32-bit or float pixels; {SAVE}")
    if "transparency" in image.info:
        raise ValueError(f"has 16-bit pixels and a transparent color; {SAVE}")
    if convert == "none":
        raise ValueError(f"has 16-bit pixels; {FLAG} keeps the upper 8 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def flatten(image: Image.Image, convert: Convert) -> Image.Image:
    """Put an image with transparency on a background; one without a transparent pixel keeps its.

    Raises:
        ValueError: with the fault, in words that follow the name of the file.
    """
    image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    if convert == "none":
        raise ValueError(f"is partly transparent; {FLAG} or black puts it on that background")
    background = Image.new("RGBA", image.size, convert)
    return Image.alpha_composite(background, image.convert("RGBA")).convert(image.mode[:-1])


def to_rgb(image: Image.Image, convert: Convert) -> Image.Image:
    """Convert an image of another color space, such as CMYK.

    Raises:
        ValueError: with the fault, in words that follow the name of the file.
    """
    if image.mode not in ("CMYK", "YCbCr", "RGBX"):
        raise ValueError(f"is {image.mode}; {SAVE}")
    if convert == "none":
        raise ValueError(f"is {image.mode}; {FLAG} makes it RGB")
    profile = image.info.get("icc_profile")
    if image.mode != "CMYK" or not profile:
        return image.convert("RGB")
    try:
        made = ImageCms.applyTransform(image, _transform(profile))
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ValueError(f"has a color profile that cannot be used; {SAVE}") from error
    assert made is not None
    return made


@lru_cache(8)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform:
    """Return the conversion from a CMYK profile to sRGB."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
