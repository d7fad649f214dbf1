"""Total-variation minimisation of color: flat areas become flat, edges stay.

Chambolle, "An Algorithm for Total Variation Minimization and Applications", 2004, by scikit-image.
"""

import torch
from torch import Tensor

WEIGHT = 4.0
"""How much is smoothed, CIE units."""


def refine(lightness: Tensor, ab: Tensor) -> Tensor:  # noqa: ARG001
    """Color of less total variation; lightness has no say.

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.
    """
    from skimage.restoration import denoise_tv_chambolle  # noqa: PLC0415 (half a second)

    planes = [
        torch.from_numpy(denoise_tv_chambolle(image.cpu().numpy(), WEIGHT, channel_axis=0))
        for image in ab.float()
    ]
    return torch.stack(planes).to(ab)
