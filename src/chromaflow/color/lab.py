"""sRGB to CIE Lab and back (D65, 2° observer), with gradients that are finite everywhere.

Constants are those of scikit-image, so that pictures and published figures agree with it. All
arithmetic is pointwise: autocast and TF32 leave it in full precision, and any memory layout works.
"""

import torch
from torch import Tensor

from chromaflow.color.constants import WHITE, XYZ_FROM_RGB

_RGB_FROM_XYZ = tuple(
    tuple(row) for row in torch.tensor(XYZ_FROM_RGB, dtype=torch.float64).inverse().tolist()
)


def _channels(image: Tensor, name: str) -> tuple[Tensor, ...]:
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"{name} must be (…, 3, H, W), not {tuple(image.shape)}")
    if not image.is_floating_point():
        raise TypeError(f"{name} must be floating point, not {image.dtype}")
    return (image if image.dtype == torch.float64 else image.float()).unbind(-3)


def _mix(matrix: tuple[tuple[float, ...], ...], channels: tuple[Tensor, ...]) -> list[Tensor]:
    first, second, third = channels
    return [row[0] * first + row[1] * second + row[2] * third for row in matrix]


# In each curve the branch that torch.where drops is clamped too: its infinite slope would
# otherwise reach the gradient as 0 · ∞.
def _linear_from_srgb(value: Tensor) -> Tensor:
    power = ((value.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(value > 0.04045, power, value / 12.92)


def _srgb_from_linear(value: Tensor) -> Tensor:
    power = 1.055 * value.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(value > 0.0031308, power, 12.92 * value)


def _lab_curve(value: Tensor) -> Tensor:
    root = value.clamp(min=0.008856) ** (1 / 3)
    return torch.where(value > 0.008856, root, 7.787 * value + 16 / 116)


def _lab_curve_inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0.2068966, value**3, (value - 16 / 116) / 7.787)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB to CIE Lab.

    Args:
        rgb: Gamma-encoded sRGB, (…, 3, H, W), 0..1.

    Returns:
        Lab, (…, 3, H, W): L in 0..100, a and b about −110..110; float32, or float64 as given.

    Raises:
        ValueError: The third dimension from the end is not 3.
        TypeError: The values are integers.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
        >>> rgb_to_lab(red).flatten().round(decimals=1)
        tensor([53.2000, 80.1000, 67.2000])
    """
    xyz = _mix(XYZ_FROM_RGB, tuple(_linear_from_srgb(c) for c in _channels(rgb, "rgb")))
    x, y, z = (_lab_curve(value / white) for value, white in zip(xyz, WHITE, strict=True))
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab to sRGB, clipping what no screen can show.

    Args:
        lab: Lab, (…, 3, H, W): L in 0..100, a and b in CIE units.

    Returns:
        Gamma-encoded sRGB, (…, 3, H, W), 0..1; float32, or float64 as given.

    Raises:
        ValueError: The third dimension from the end is not 3.
        TypeError: The values are integers.

    Example:
        >>> lab = torch.tensor([50.0, 128.0, 0.0]).reshape(3, 1, 1)  # redder than screens can show
        >>> lab_to_rgb(lab).flatten().round(decimals=2)
        tensor([1.0000, 0.0000, 0.4900])
    """
    lightness, a, b = _channels(lab, "lab")
    y = (lightness + 16) / 116
    x, z = y + a / 500, (y - b / 200).clamp(min=0)
    xyz = tuple(_lab_curve_inverse(v) * white for v, white in zip((x, y, z), WHITE, strict=True))
    linear = _mix(_RGB_FROM_XYZ, xyz)
    return torch.stack([_srgb_from_linear(value) for value in linear], dim=-3).clamp(0, 1)


def join(lightness: Tensor, ab: Tensor) -> Tensor:
    """Put lightness and color together.

    Args:
        lightness: (…, 1, H, W), 0..100.
        ab: (…, 2, H, W), CIE units, of the same height and width.

    Returns:
        Lab, (…, 3, H, W).

    Example:
        >>> join(torch.full((2, 1, 4, 5), 50.0), torch.zeros(2, 2, 4, 5)).shape
        torch.Size([2, 3, 4, 5])
    """
    return torch.cat((lightness, ab), dim=-3)
