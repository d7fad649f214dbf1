import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from chromaflow.errors import UserError
from chromaflow.project.packages import is_installed, require_package
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where packages are looked for; it holds a folder mlflow/ that is none."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "server.yaml").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    importlib.invalidate_caches()
    return tmp_path / "mlflow"


def test_a_folder_of_that_name_is_no_package(folder: Path) -> None:
    assert not is_installed("mlflow")
    (folder / "__init__.py").write_text("")
    importlib.invalidate_caches()
    assert is_installed("mlflow")


def test_a_missing_package_is_named_with_what_installs_it(folder: Path) -> None:
    with pytest.raises(UserError, match="mlflow is not installed") as caught:
        require_package("mlflow")
    assert "chromaflow[tracking]" in caught.value.remedy


def test_a_package_is_found_beside_a_folder_of_its_name() -> None:
    pytest.importorskip("mlflow")
    assert (ROOT / "mlflow").is_dir()
    code = "from chromaflow.project.packages import is_installed; print(is_installed('mlflow'))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"
