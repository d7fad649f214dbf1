from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chromaflow.data.ingest.build import build_snapshot
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.photographs import photograph


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for folder in ("color", "grey"):
        (tmp_path / folder).mkdir()
        for number in range(5):
            (tmp_path / folder / f"{number}.jpg").write_bytes(photograph(number))
    return tmp_path


def settings_of(root: Path, historic: str = "", **source: object) -> Settings:
    values = {"name": "folder", "folder": str(root / "color"), "shard_images": 2, **source}
    return Settings.model_validate({"source": {**values, "historic": historic}})


def test_historic_photographs_stand_beside_in_shards_of_their_own(
    checkout: Project, photographs: Path
) -> None:
    plain = build_snapshot(checkout, settings_of(photographs))
    result = build_snapshot(checkout, settings_of(photographs, str(photographs / "grey"), images=3))
    assert (plain.images, result.images, result.source) == (5, 8, "folder")
    rows = pq.read_table(checkout.raw / "manifest.parquet").to_pylist()
    assert sum(row["source"] == "folder" for row in rows) == 3
    for row in rows:
        historic = row["source"] == "historic"
        assert row["split_hint"] == ("historic" if historic else None)
        assert row["shard"].startswith("historic/" if historic else "folder/")
        assert row["url"].startswith("historic:" if historic else "folder:")
    assert not build_snapshot(
        checkout, settings_of(photographs, str(photographs / "grey"), images=3)
    ).changed
    assert build_snapshot(checkout, settings_of(photographs)).removed == 5
    assert not (checkout.raw / "historic").exists()


def test_a_folder_that_cannot_be_used_is_named(checkout: Project, photographs: Path) -> None:
    with pytest.raises(DataError, match=r"source\.historic = nowhere does not exist") as caught:
        build_snapshot(checkout, settings_of(photographs, "nowhere"))
    assert "source.historic=PATH" in caught.value.remedy
