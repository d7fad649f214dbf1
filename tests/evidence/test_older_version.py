"""A version that chromaflow registered before its modules moved: it loads, colors and competes.

`tests/support/older_version` was written by commit 6101b6d: `save_model` of an untrained network
"richart" with the codebook "regression" after `torch.manual_seed(0)`, and the color that this
commit predicted for every tenth pixel of scikit-image's `coffee`.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab

from chromaflow.color.stored import encode_stored
from chromaflow.colorize.predictor import Predictor
from chromaflow.evidence.champion_measurements import measure_champion
from chromaflow.experiments.sample_photographs import write_lab
from chromaflow.models.model_folder import load_model, model_digest
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.register import register
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry
from tests.evidence.test_champion_measurements import SETTINGS, write_test_split
from tests.support.tracking import WriteEvaluation

FOLDER = Path(__file__).parents[1] / "support" / "older_version"
NAMES = ("model.json", "weights.safetensors")
DIGEST = "a75cb35b312f0914ac1708f33cdd3b2aa88217c977ce6a940bb400986a001765"
# As that commit wrote them.
TAGS = {
    "digest": DIGEST,
    "run_id": "0123456789abcdef0123456789abcdef",
    "metrics": '{"auc": 0.5, "auc_rebalanced": 0.4, "delta_e_2000": 12.5}',
    "git.commit": "6101b6d" + "0" * 33,
    "git.dirty": "false",
    "data.raw.md5": "1" * 32 + ".dir",
    "dvc.lock.sha256": "2" * 64,
}


@pytest.fixture
def older(
    project: Project, settings: Settings, write_evaluation: WriteEvaluation, light_package: None
) -> Version:
    """The version as champion, with the tags of its time and no others."""
    project.candidate.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(FOLDER / name, project.candidate / name)
    write_evaluation(DIGEST)
    register(project, settings)
    registry, client = Registry(project, settings), connect(project, settings)
    version = registry.version_of(DIGEST)
    assert version is not None
    for name in version.tags:
        client.delete_model_version_tag(version.model, str(version.version), name)
    for name, value in TAGS.items():
        client.set_model_version_tag(version.model, str(version.version), name, value)
    client.set_registered_model_alias(version.model, "champion", str(version.version))
    shutil.rmtree(project.candidate)
    found = registry.champion()
    assert found is not None
    return found


def test_its_tags_are_understood(older: Version) -> None:
    assert older.tags == TAGS
    assert older.digest == DIGEST
    assert older.facts.metrics["delta_e_2000"] == 12.5
    assert older.facts.run.code.known_commit == TAGS["git.commit"]
    assert older.facts.run.data.raw_md5 == TAGS["data.raw.md5"]
    assert older.facts.run.flow.run == ""


def test_it_keeps_its_name_and_its_colors(
    project: Project, settings: Settings, older: Version
) -> None:
    folder = Registry(project, settings).champion_folder()
    assert model_digest(folder) == DIGEST
    lightness = rgb2lab(data.coffee()[::10, ::10])[..., 0].astype(np.float32)
    with torch.inference_mode():
        ab = load_model(folder).predict_ab(torch.from_numpy(lightness)[None, None])[0].numpy()
    np.testing.assert_allclose(ab, np.load(FOLDER / "expected_ab.npy"), atol=1e-3)
    predictor = Predictor.load(folder, "cpu")
    assert (predictor.digest, predictor.size) == (DIGEST, 256)
    assert predictor.color(data.camera()[::8, ::8]).shape == (64, 64, 3)


def test_it_is_measured_as_a_candidate_is(
    project: Project, settings: Settings, older: Version
) -> None:
    lab = encode_stored(rgb2lab(data.immunohistochemistry()[:256, :256]))
    tiles = [lab[y : y + 48, x : x + 48] for y in range(0, 208, 52) for x in range(0, 208, 52)]
    write_lab(project, {f"tile{number}": tile for number, tile in enumerate(tiles[:2])})
    write_test_split(project, tiles)
    registry = Registry(project, SETTINGS.model_copy(update={"tracking": settings.tracking}))
    measured = measure_champion(registry, older)
    assert len(measured.ids) == len(tiles)
    assert np.isfinite(measured.values["delta_e_2000"]).all()
