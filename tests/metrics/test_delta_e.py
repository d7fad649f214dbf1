"""CIEDE2000 against scikit-image and the published pairs."""

import numpy as np
import torch
from skimage import color, data

from chromaflow.metrics.delta_e import ciede2000, delta_e_2000

# Sharma, Wu and Dalal 2005, table 1: two colors and their difference.
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((50, 0, 0), (50, 0, 0), 0.0),
]


def pixels(lab: np.ndarray) -> torch.Tensor:
    """(N, 3) colors as an image of one row."""
    return torch.from_numpy(np.asarray(lab, dtype=np.float64)).T.reshape(1, 3, 1, -1)


def test_published_pairs() -> None:
    first, second, expected = (np.array(column, dtype=float) for column in zip(*PAIRS, strict=True))
    got = ciede2000(pixels(first), pixels(second)).flatten().numpy()
    np.testing.assert_allclose(got, color.deltaE_ciede2000(first, second), atol=1e-9)
    np.testing.assert_allclose(got, expected, atol=5e-5)


def test_random_colors_agree_with_scikit_image() -> None:
    rng = np.random.default_rng(0)
    low, high = (0, -110, -110), (100, 110, 110)
    first, second = rng.uniform(low, high, (2, 20_000, 3))
    second[:500, 1:] = 0
    got = ciede2000(pixels(first), pixels(second)).flatten().numpy()
    np.testing.assert_allclose(got, color.deltaE_ciede2000(first, second), atol=1e-8)


def test_mean_of_a_photograph_in_single_precision() -> None:
    lab = color.rgb2lab(data.astronaut()[::4, ::4])
    faded = lab * (1, 0.5, 0.8)
    first, second = (
        torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] for image in (faded, lab)
    )
    both = torch.cat((first, second)), torch.cat((second, second))
    expected = color.deltaE_ciede2000(faded, lab).mean()
    np.testing.assert_allclose(delta_e_2000(*both).numpy(), [expected, 0], atol=1e-3)


def test_it_is_symmetric() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.rand(2, 1, 3, 8, 8, generator=generator) - 0.5) * 100
    torch.testing.assert_close(ciede2000(first, second), ciede2000(second, first))
