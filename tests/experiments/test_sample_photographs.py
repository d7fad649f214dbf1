from pathlib import Path

import numpy as np
from skimage import data
from skimage.color import lab2rgb
from skimage.transform import resize

from chromaflow.data.store.read import read_split
from chromaflow.experiments.sample_photographs import read_eight, write_lab
from chromaflow.project.paths import Project


def test_there_are_eight_scenes_in_color() -> None:
    photographs = read_eight(48)
    assert len(photographs) == 8
    for lab in photographs.values():
        assert lab.shape == (48, 48, 3)
        chroma = np.hypot(lab[..., 1] - 128.0, lab[..., 2] - 128.0)
        assert chroma.mean() > 1
    lab = photographs["astronaut"].astype(float)
    rgb = lab2rgb(np.stack([lab[..., 0] / 2.55, lab[..., 1] - 128, lab[..., 2] - 128], -1))
    assert abs(rgb - resize(data.astronaut(), (48, 48), anti_aliasing=True)).mean() < 0.01


def test_they_are_a_train_split(tmp_path: Path) -> None:
    project, photographs = Project(tmp_path), read_eight(32)
    write_lab(project, photographs)
    read = dict(read_split(project.lab / "train"))
    assert read.keys() == photographs.keys()
    assert all(np.array_equal(read[name], photographs[name]) for name in read)
    assert np.load(project.lab / "ab_histogram.npy").sum() == 8 * 32 * 32
