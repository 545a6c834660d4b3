"""Images that were cast to uint8 without scaling, so that nearly all of them is black."""

from collections.abc import Iterable

from torch import Tensor

CAST = b"\0\1\xff"
"""Values that floats in [0, 1] or [-1, 1] become by a cast."""

PART = 2**22
"""Bytes that are looked at together."""


def cast_values(content: bytes) -> set[int]:
    """Return the distinct values of pixels if all are in CAST; an empty set for other images."""
    return set() if content.translate(None, CAST) else set(content)


def brightness_warning(images: Tensor | Iterable[set[int]]) -> str:
    """Return a warning if images look like floats that were cast to uint8; empty if they do not.

    Args:
        images: uint8 images (N, C, H, W), or the cast_values of each; of points there is none.
    """
    if isinstance(images, Tensor):
        if images.is_floating_point():
            return ""
        parts = images.split(max(1, PART // images[0].numel()))
        images = (cast_values(part.numpy().tobytes()) for part in parts)
    seen = set[int]()
    for values in images:
        if not values:
            return ""
        seen |= values
    if seen not in ({0}, {0, 1}, {1, 255}, {0, 1, 255}):
        return ""
    below = max(seen - {255})
    return (
        f"the brightest value is {below} of 255{' except for 255 itself' * (255 in seen)}; if the "
        "images were floats, multiply them by 255 before they are saved as uint8"
    )
