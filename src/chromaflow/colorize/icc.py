"""ICC profiles of photographs, converted to sRGB."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_PROBE = tuple((r, g, b) for r in (0, 90, 255) for g in (0, 90, 255) for b in (0, 90, 255))
# Levels of 255: profiles that call themselves sRGB differ from each other by as much.
_SAME = 2
_IGNORED = "its ICC profile is damaged or does not fit its pixels; sRGB was assumed"


def _transform(
    image: Image.Image, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> ImageCms.ImageCmsTransform | None:
    """The conversion to sRGB, or None where there is no profile."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(data)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=flags | ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _name(image: Image.Image) -> str:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    return (ImageCms.getProfileDescription(profile) or "an unnamed profile").strip()


def _changes_little(transform: ImageCms.ImageCmsTransform) -> bool:
    probe = np.array([_PROBE], np.uint8)
    converted = np.asarray(transform.apply(Image.fromarray(probe)))
    return int(np.abs(converted.astype(int) - probe).max()) <= _SAME


def is_srgb(image: Image.Image) -> bool:
    """Whether an RGB picture's values are taken for sRGB, for want of a usable other profile."""
    try:
        transform = _transform(image, "RGB")
        return transform is None or _changes_little(transform)
    except (ImageCms.PyCMSError, OSError):
        return True


def converter(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], Image.Image]:
    """A function that turns any part of a color picture into sRGB, mode RGB.

    Args:
        image: The picture, with its profile in `info`.
        notes: Gets a line where a profile was converted or had to be ignored.
    """
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    try:
        transform = _transform(image, mode)
        if transform is None and mode == "CMYK":
            notes.append("CMYK without a profile: converted without color management")
        if transform is not None and (mode == "CMYK" or not _changes_little(transform)):
            notes.append(f"converted from {_name(image)} to sRGB")
            return lambda part: transform.apply(part.convert(mode))
    except (ImageCms.PyCMSError, OSError):
        notes.append(_IGNORED)
    return lambda part: part.convert("RGB")


def _ramp(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """The sRGB levels, 0..255, of 65536 levels of grey; None where there is no profile."""
    levels = np.arange(65536, dtype=np.uint16)[None]
    try:
        # The optimized curve is off by a level in the dark.
        transform = _transform(image, "I;16", ImageCms.Flags.NOOPTIMIZE)
        ramp = Image.fromarray(levels)
    except ImageCms.PyCMSError:
        # Grey pictures often carry a profile of RGB; its curve holds for them too.
        transform = _transform(image, "RGB", ImageCms.Flags.NOOPTIMIZE)
        ramp = Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")
    if transform is None:
        return None
    converted: npt.NDArray[np.uint8] = np.asarray(transform.apply(ramp))[0, :, 1]
    ramp_of_levels: npt.NDArray[np.uint8] = np.maximum.accumulate(converted)
    return ramp_of_levels


def grey_curve(image: Image.Image, notes: list[str]) -> npt.NDArray[np.uint16] | None:
    """The sRGB grey, 16 bits, of each of the 65536 levels of a grey picture with a profile.

    The library for profiles gives 8 bits only. Where its result steps from one level to the next is
    known to 1/65536, so the curve is drawn through the middles of the steps.

    Args:
        image: The grey picture, with its profile in `info`.
        notes: Gets a line where a profile was converted or had to be ignored.

    Returns:
        uint16 (65536,), or None where the profile changes nothing.
    """
    try:
        ramp = _ramp(image)
    except (ImageCms.PyCMSError, OSError):
        notes.append(_IGNORED)
        return None
    if ramp is None:
        return None
    steps = np.flatnonzero(np.diff(ramp)) + 1
    middles = (ramp[steps - 1].astype(float) + ramp[steps]) / 2
    levels = np.arange(65536)
    curve = np.interp(levels, [0, *steps, 65535], [ramp[0], *middles, ramp[-1]]) * 257
    if np.abs(curve - levels).max() <= _SAME * 257:
        return None
    notes.append(f"converted from {_name(image)} to sRGB")
    rounded: npt.NDArray[np.uint16] = np.round(curve).astype(np.uint16)
    return rounded
