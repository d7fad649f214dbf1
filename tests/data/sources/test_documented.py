"""The source that docs/data.md shows works as it stands there."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from chromaflow.data.ingest.build import build_snapshot
from chromaflow.data.snapshot.manifest import HISTORIC
from chromaflow.project.paths import Project
from chromaflow.settings import Settings, sources
from tests.support.hosts import Host
from tests.support.photographs import photograph

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def test_the_example_of_a_source(
    host: Host, checkout: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    kind, code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    made = dict(vars(sources))
    exec(kind, made)  # noqa: S102 (a page of this project)
    monkeypatch.setattr(sources, "GallerySource", made["GallerySource"], raising=False)
    path = tmp_path / "gallery.py"
    path.write_text(code)
    spec = spec_from_file_location("chromaflow.data.sources.gallery", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    host.files |= {f"/{number}.jpg": photograph(number) for number in range(24)}
    settings = Settings.model_validate({"download": {"reserve": "1B"}})
    source = made["GallerySource"](address=host.address)
    settings = settings.model_copy(update={"source": source})
    result = build_snapshot(checkout, settings)
    assert (result.images, result.undecodable) == (24, 0)
    assert not build_snapshot(checkout, settings).changed


def test_every_name_is_a_module_that_offers_a_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (*sources.SOURCES, HISTORIC):
        __import__(f"chromaflow.data.sources.{name}")
        assert callable(sys.modules[f"chromaflow.data.sources.{name}"].SOURCE)
        assert name == "sample" or name in text
