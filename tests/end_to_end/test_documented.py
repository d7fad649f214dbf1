"""Every command of the documents, in a temporary clone."""

import json
import re
import shlex
import zipfile

import pytest
from PIL import Image
from skimage import data

from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.settings import Model
from tests.support.clips import pan, write_clip
from tests.support.clone import ROOT, SMALL, chromaflow

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of grey and colored photographs, and the archive of a category."""
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


def _documented():
    """The commands of README and docs that work on this checkout alone, in their order.

    Others have tests of their own: `up` and `down` in tests/services, the sources of docs/data.md
    in tests/data/sources/test_presets.py, the mirror in tests/store, decisions about one image in
    tests/test_cli_quarantine.py.
    """
    skipped = {"up", "down", "ID", "runtime.mirror=s3://BUCKET/lab"}
    pages = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "data.md"}
    for page in sorted(pages):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line)
                if words[:1] == ["chromaflow"] and not skipped.intersection(words):
                    yield tuple(words[1:])


# What makes a trial of a recipe short; `sanity` then says that it needs longer, with exit code 1.
TRIALS = {
    "sanity": ["--minutes=0.02", "--side=64"],
    "find-lr": ["--steps=12"],
    "sweep": ["--trials=1"],
    "compare": ["--budget=1s"],
}


@pytest.fixture(scope="module")
def examples(photographs, tmp_path_factory):
    """What stands in capitals in the documents, and an example of each."""
    folder, archive = photographs
    place = tmp_path_factory.mktemp("examples")
    hints = {"points": [{"x": 20, "y": 30, "color": "teal"}]}
    (place / "hints.json").write_text(json.dumps(hints))
    hinted = Model(network={"name": "zhang2017", "width": 0.125}, codebook="regression")
    save_model(build_model(hinted), place / "hinted")
    write_clip(place / "clip.mp4", pan(count=4))
    first = min(folder.iterdir())
    return {
        **{"PHOTOGRAPHS": folder, "ARCHIVE": archive, "PHOTOGRAPH": first, "PICTURE": first},
        **{"HINTS": place / "hints.json", "HINTED": place / "hinted", "CLIP": place / "clip.mp4"},
    }


def _with_small_settings(arguments):
    """The arguments of a command, and settings that make it a matter of seconds."""
    command, learning = arguments[0], [text for text in SMALL if text.startswith("training.")]
    if command in TRIALS:
        return [*arguments, *TRIALS[command], *(f"--set={text}" for text in learning)]
    if "--preset" in arguments:
        small = (*SMALL, "training.steps=2", "split.train=12", "split.validation=0.3")
        return [*arguments, *(f"--set={text}" for text in small)]
    if "--recipe" in arguments:
        return [*arguments, *(f"--set={text}" for text in (*learning, "training.steps=2"))]
    return arguments


def test_the_commands_of_the_documents_run(trained, examples):
    project, _ = trained
    in_capitals = re.compile(rf"\b({'|'.join(examples)})\b")
    for words in dict.fromkeys(_documented()):
        arguments = _with_small_settings(
            [in_capitals.sub(lambda found: str(examples[found[0]]), word) for word in words]
        )
        if words[0] in ("colorize", "export") and "--model" not in words:
            # Two steps of training beat no baseline, so nothing is promoted.
            arguments += ["--model", "models/candidate"]
        done = chromaflow(project, *arguments, check=words[0] != "sanity")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
    assert len(list((project.root / "colorized").glob("*-color.jpg"))) == 20
    assert (project.root / "colorized" / "clip-color.mp4").is_file()
