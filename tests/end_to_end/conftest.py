import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from chromaflow import settings
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.project.paths import Project
from chromaflow.settings import Model
from tests.support.clips import pan, write_clip
from tests.support.clone import ROOT, SMALL, chromaflow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone of the working tree as it is now, with the small settings."""
    root = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "clone"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return Project(root)


@pytest.fixture(scope="module")
def trained(clone: Project) -> tuple[Project, str]:
    """The clone after its first retraining, and what that printed."""
    overrides = [f"--set={text}" for text in SMALL]
    return clone, chromaflow(clone, "retrain", "--preset=sample", *overrides).stdout


@pytest.fixture(scope="module")
def untrained(clone: Project) -> Project:
    """The clone with the small settings written, and a model that learned nothing."""
    settings.save(clone, settings.load(clone, "sample", SMALL))
    model = Model.model_validate({"network": {"width": 0.125}, "codebook": "regression"})
    save_model(build_model(model), clone.candidate)
    return clone


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of photographs, and the archive of a category."""
    folder = tmp_path_factory.mktemp("photographs")
    archive = folder.parent / "archive.zip"
    pictures = (data.astronaut(), data.coffee(), data.rocket(), data.cat(), data.retina())
    with zipfile.ZipFile(archive, "w") as target:
        for number, pixels in enumerate(pictures):
            for top, left in ((0, 0), (0, 128), (128, 0), (128, 128)):
                tile = Image.fromarray(pixels[top : top + 128, left : left + 128])
                path = folder / f"{number}-{top}-{left}.jpg"
                tile.save(path, quality=95)
                target.write(path, f"scenes/opencountry_{path.name}")
    return folder, archive


@pytest.fixture(scope="module")
def examples(
    photographs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What stands in capitals in the documents, and an example of each."""
    folder, archive = photographs
    place = tmp_path_factory.mktemp("examples")
    hints = {"points": [{"x": 20, "y": 30, "color": "teal"}]}
    (place / "hints.json").write_text(json.dumps(hints))
    hinted = Model.model_validate(
        {"network": {"name": "zhang2017", "width": 0.125}, "codebook": "regression"}
    )
    save_model(build_model(hinted), place / "hinted")
    write_clip(place / "clip.mp4", pan(count=4))
    first = min(folder.iterdir())
    return {
        **{"PHOTOGRAPHS": folder, "ARCHIVE": archive, "PHOTOGRAPH": first, "PICTURE": first},
        **{"HINTS": place / "hints.json", "HINTED": place / "hinted", "CLIP": place / "clip.mp4"},
    }
