import importlib.metadata
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chromaflow import settings as settings_module
from chromaflow.project.paths import Project
from chromaflow.services.diagnostics import doctor
from chromaflow.services.diagnostics.doctor import Check, examine
from chromaflow.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def values() -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    return Settings.model_validate({"servers": {"mlflow_port": ports[0], "prefect_port": ports[1]}})


def by_name(checks: list[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


def test_new_checkout(project: Project, values: Settings) -> None:
    before = sorted(project.root.rglob("*"))
    checks = by_name(examine(project, values))
    assert sorted(project.root.rglob("*")) == before, "doctor changes nothing"
    for name in ("Python", "packages", "packages [data]", "device", "params.yaml", "MLflow server"):
        assert checks[name].state == "ok", checks[name]
    version = importlib.metadata.version("mlflow")
    assert f"mlflow {version}" in checks["packages [tracking]"].detail
    assert checks["data snapshot"].remedy == "chromaflow retrain"
    assert checks["champion"].detail == "no champion yet"
    assert checks["pinned versions"].remedy == "make lock"
    assert checks["dvc.yaml"].detail == "the folder .dvc is missing"
    assert all(check.remedy for check in checks.values() if check.state != "ok")
    assert not any(check.remedy for check in checks.values() if check.state == "ok")


def test_whole_checkout(project: Project, values: Settings) -> None:
    (project.root / ".dvc").mkdir()
    (project.raw / "sample").mkdir(parents=True)
    (project.raw / "sample" / "000000.tar").write_bytes(b"")
    (project.raw / "manifest.parquet").write_bytes(b"")
    checks = by_name(examine(project, values))
    assert checks["dvc.yaml"].detail == "validate, describe, preprocess, train, evaluate"
    assert checks["data snapshot"].detail.startswith("1 shards in ")


def test_snapshot_that_was_not_fetched(project: Project, values: Settings) -> None:
    project.raw_record.write_text("outs: []\n")
    check = by_name(examine(project, values))["data snapshot"]
    assert (check.state, check.remedy) == ("warning", "chromaflow ingest, or dvc pull")


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checks = by_name(examine())
    assert checks["checkout"].state == "warning"
    assert "cd into your clone" in checks["checkout"].remedy
    assert checks["device"].state == "ok"


def test_mistake_in_the_settings(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.params.write_text("training:\n  stepps: 3\n")
    monkeypatch.chdir(project.root)
    checks = by_name(examine())
    assert checks["params.yaml"].state == "failed"
    assert "training.steps" in checks["params.yaml"].detail
    settings_module.save(project, Settings())
    assert by_name(examine())["params.yaml"].state == "ok"


def test_pinned_versions(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = importlib.metadata.version("numpy")
    pins = [
        f"numpy=={numpy} \\\n    --hash=sha256:00",
        "Typing_Extensions==0.1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01",
        "no-such-package==1 ; python_version < '3'",
        "# a comment",
    ]
    project.requirements_lock.write_text("\n".join(pins[:1]) + "\n")
    assert doctor._lock(project) == Check("pinned versions", "ok", "all 1 as in requirements.lock")
    project.requirements_lock.write_text("\n".join(pins) + "\nnot-installed==2.0\n")
    check = doctor._lock(project)
    assert check.state == "warning"
    assert check.detail.startswith("typing-extensions ")
    assert check.detail.endswith("pinned 0.1, not-installed is missing")
    assert check.remedy == "make setup"


def test_missing_and_unfit_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("pandas", "torch"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.155.0" if name == "fastapi" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    checks = by_name(list(doctor._packages()))
    assert checks["packages"].state == "failed"
    assert "torch is missing" in checks["packages"].detail
    assert checks["packages [data]"].state == "warning"
    assert "pip install 'chromaflow[data]'" in checks["packages [data]"].remedy
    assert "fastapi is 0.155.0, not <0.151" in checks["packages [workflow]"].detail
    assert checks["packages [tracking]"].state == "ok"


def test_no_gpu_where_one_is_asked_for(values: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    training = values.training.model_copy(update={"accelerator": "gpu"})
    check = doctor._device(values.model_copy(update={"training": training}))
    assert (check.state, check.remedy) == ("failed", "--set training.accelerator=auto")


def test_taken_port(project: Project, values: Settings) -> None:
    with socket.create_server(("127.0.0.1", values.servers.mlflow_port)):
        check = by_name(examine(project, values))["MLflow server"]
    assert check.state == "warning"
    assert f"port {values.servers.mlflow_port} is in use by process " in check.detail
    assert "servers.mlflow_port=" in check.remedy


def test_tracking_server_that_does_not_answer(project: Project, values: Settings) -> None:
    uri = f"http://127.0.0.1:{values.servers.mlflow_port}"
    tracking = values.tracking.model_copy(update={"uri": uri})
    check = by_name(examine(project, values.model_copy(update={"tracking": tracking})))["champion"]
    assert check.state == "failed"
    assert uri in check.detail


def test_little_space(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((2**29, "failed"), (2**31, "warning"), (2**34, "ok")):
        usage = (2**40, 2**40 - free, free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: _usage(*usage))
        assert doctor._disk(project).state == state


def _usage(total: int, used: int, free: int) -> object:
    return type("Usage", (), {"total": total, "used": used, "free": free})


# Packages that are installed are hidden from imports and from look-ups.
WITHOUT = """
import importlib.machinery, sys
hidden, find = sys.argv[1].split(","), importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
from chromaflow.services import local as servers
from chromaflow.services.diagnostics import doctor, status
doctor.render(doctor.examine())
loaded = {name.partition(".")[0] for name in sys.modules}
print("loaded:", *sorted(loaded & {"mlflow", "dvc", "prefect", "great_expectations", "pandas"}))
"""


def test_works_without_the_optional_packages(tmp_path: Path) -> None:
    hidden = "mlflow,dvc,prefect,great_expectations,pandas,pyarrow,imagehash,jinja2,fastapi"
    source = Path(doctor.__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT, hidden],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "loaded:\n" in result.stdout
    assert "install git" in result.stdout


def test_render_shows_brackets_and_remedies(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.render([Check("packages [data]", "warning", "[red] missing", "pip install 'a[data]'")])
    text = capsys.readouterr().out
    assert "packages [data]" in text
    assert "[red] missing" in text
    assert "→ pip install 'a[data]'" in text
