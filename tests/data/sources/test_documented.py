"""The source that docs/data.md shows works as it stands there."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import get_args

import pytest

from chromaflow.data.ingest import build
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.settings.data import SourceName
from tests.support.hosts import Host
from tests.support.photographs import photograph

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def test_the_example_of_a_source(
    host: Host, checkout: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "gallery.py"
    path.write_text(code[0])
    spec = spec_from_file_location("chromaflow.sources.gallery", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    host.files |= {f"/{number}.jpg": photograph(number) for number in range(24)}
    values = {"source": {"address": host.address}, "download": {"reserve": "1B"}}
    settings = Settings.model_validate(values)
    source = settings.source.model_copy(update={"name": "gallery"})
    settings = settings.model_copy(update={"source": source})
    result = build.ingest(checkout, settings)
    assert (result["images"], result["undecodable"]) == (24, 0)
    assert not build.ingest(checkout, settings)["changed"]


def test_every_name_is_a_module_that_offers_a_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (*get_args(SourceName), build.HISTORIC):
        __import__(f"chromaflow.sources.{name}")
        assert callable(sys.modules[f"chromaflow.sources.{name}"].SOURCE)
        assert name == "sample" or name in text
