"""What the tests of the downloader share: photographs as files, and a call of few words."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from chromaflow.data.download.fetch import Download, Report, download
from chromaflow.settings import DownloadSettings as Policy


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SMALL = encode(Image.fromarray(data.chelsea()[:64, :64]))
# Noise does not shrink: large enough that a part of it is worth keeping.
NOISE = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
LARGE = encode(Image.fromarray(NOISE))
OTHER = encode(Image.fromarray(NOISE[::-1].copy()))
CUT = 300_000


def policy(**values: object) -> Policy:
    fast = {"reserve": "1B", "retry_delay": "0.01s"}
    return Policy.model_validate(fast | values)


def run(cache: Path, *items: Download, **values: object) -> Report:
    return download(items, policy(**values), cache=cache)


def one(
    cache: Path,
    address: str,
    name: str = "a.png",
    *,
    size: int | None = None,
    checksum: str = "",
    **values: object,
) -> tuple[str, str]:
    """State and reason of a single file."""
    row = run(cache, Download(address, cache / name, size, checksum), **values).rows[0]
    assert (row.state == "failed") == (not (cache / name).exists())
    return row.state, row.reason
