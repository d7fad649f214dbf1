import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
import yaml

from chromaflow.errors import ServerError, UserError
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.services.diagnostics import status as module
from chromaflow.settings import Settings

STAGES = {
    "copy": {
        "cmd": "cp in.txt out.txt",
        "deps": ["in.txt", "code"],
        "params": ["training.steps"],
        "outs": ["out.txt"],
    },
    "never": {"cmd": "cp out.txt last.txt", "deps": ["out.txt"], "outs": ["last.txt"]},
}


def run(project: Project, *arguments: str) -> None:
    subprocess.run(dvc.command(*arguments), cwd=project.root, env=dvc.environment(), check=True)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout whose first stage ran."""
    project = Project(tmp_path_factory.mktemp("pipeline"))
    (project.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    project.params.write_text("training:\n  steps: 1000\n")
    (project.root / "in.txt").write_text("one")
    (project.root / "code").mkdir()
    (project.root / "code" / "a.py").write_text("1")
    run(project, "init", "--quiet", "--no-scm")
    run(project, "repro", "--quiet", "copy")
    return project


@pytest.fixture
def checkout(pipeline: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("copy") / "checkout"
    shutil.copytree(pipeline.root, root)
    return Project(root)


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    return Settings.model_validate({"servers": {"mlflow_port": ports[0], "prefect_port": ports[1]}})


def test_reasons_in_words(checkout: Project) -> None:
    assert module.stale_stages(checkout) == {"never": ["it has not run here"]}
    (checkout.root / "in.txt").write_text("two")
    (checkout.root / "code" / "a.py").unlink()
    (checkout.root / "out.txt").unlink()
    checkout.params.write_text("training:\n  steps: 2000\n")
    stages = {**STAGES, "copy": {**STAGES["copy"], "cmd": "cp -f in.txt out.txt"}}
    (checkout.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    stale = module.stale_stages(checkout)
    assert list(stale) == ["copy", "never"], "in the order of dvc.yaml"
    assert stale["copy"] == [
        "in.txt changed",
        "code changed",
        "setting training.steps changed",
        "its output out.txt is missing",
        "its command changed",
    ]


def test_a_snapshot_that_is_not_here(checkout: Project) -> None:
    record = {"outs": [{"path": "data", "md5": f"{'ab' * 16}.dir", "hash": "md5"}]}
    (checkout.root / "data.dvc").write_text(yaml.safe_dump(record))
    assert module.stale_stages(checkout)["ingest"] == ["its output data is not in DVC's cache"]


def test_another_dvc_command_is_named(checkout: Project) -> None:
    stages = {**STAGES, "never": {**STAGES["never"], "cmd": "touch begun; sleep 3600"}}
    (checkout.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    busy = subprocess.Popen(
        dvc.command("repro", "--quiet", "never"), cwd=checkout.root, start_new_session=True
    )
    try:
        while not (checkout.root / "begun").exists():
            assert busy.poll() is None
            time.sleep(0.05)
        with pytest.raises(ServerError, match=f"PID {busy.pid}") as caught:
            module.stale_stages(checkout)
        assert "another DVC command" in caught.value.problem
    finally:
        subprocess.run(["kill", "--", f"-{busy.pid}"], check=True)
        busy.wait()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("'./dvc.yaml' is invalid.\n\nDid not find …\n", "'./dvc.yaml' is invalid."),
        ("noise\nERROR: no such remote\n", "no such remote"),
        ("", "no message"),
    ],
)
def test_what_dvc_cannot_read(text: str, problem: str) -> None:
    assert dvc._explain("status", text).problem == f"dvc status failed: {problem}"


def test_dvc_is_missing(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="dvc is not installed") as caught:
        module.stale_stages(checkout)
    assert "chromaflow[workflow]" in caught.value.remedy


def test_whole_status(
    checkout: Project, values: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(checkout.root.rglob("*"))
    result = module.status(checkout, values)
    assert sorted(checkout.root.rglob("*")) == before, "status changes nothing"
    assert json.loads(json.dumps(result)) == result
    assert result == {
        "serving": {"remedy": "chromaflow retrain"},
        "stale": {"never": ["it has not run here"]},
        "unfinished": [],
        "servers": {},
    }
    module.render(result)
    text = capsys.readouterr().out
    assert "none yet → chromaflow retrain" in text
    assert "never: it has not run here" in text
    assert "none running → chromaflow up" in text


def test_parts_that_cannot_be_told(
    project: Project, values: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://127.0.0.1:{values.servers.mlflow_port}"
    tracking = values.tracking.model_copy(update={"uri": uri})
    result = module.status(project, values.model_copy(update={"tracking": tracking}))
    assert f"no MLflow server answers at {uri}" in result["serving"]["problem"]
    assert "not inside of a DVC repository" in result["stale"]["problem"]
    module.render(result)
    assert capsys.readouterr().out.count("unknown: ") == 2


def test_champion_is_told(values: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    serving = {
        "model": "chromaflow",
        "version": 3,
        "digest": "ab" * 32,
        "since": "2026-01-02T03:04:05+00:00",
        "metrics": {"psnr": 23.456789, "auc": 0.9},
        "git_commit": "",
    }
    servers = {"mlflow": "http://127.0.0.1:5000"}
    unfinished = [{"fingerprint": "f00", "changed": "2026-01-02T03:04:05+00:00"}]
    module.render({"serving": serving, "stale": {}, "unfinished": unfinished, "servers": servers})
    text = " ".join(capsys.readouterr().out.split())
    assert "chromaflow version 3, champion since 2026-01-02T03:04:05+00:00" in text
    assert "auc 0.9, psnr 23.46" in text
    assert "stale nothing" in text
    assert "training f00" in text
    assert "mlflow http://127.0.0.1:5000" in text


def test_unfinished_trainings_latest_first(project: Project) -> None:
    assert module.unfinished(project) == []
    for number, name in enumerate(("old", "new")):
        folder = project.checkpoints / name
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"")
        subprocess.run(
            ["touch", "-d", f"@{1_700_000_000 + number}", str(folder / "last.ckpt")], check=True
        )
    (project.checkpoints / "empty").mkdir()
    assert module.unfinished(project) == [
        {"fingerprint": "new", "changed": "2023-11-14T22:13:21+00:00"},
        {"fingerprint": "old", "changed": "2023-11-14T22:13:20+00:00"},
    ]


def test_interpreter_runs_dvc() -> None:
    assert dvc.command("status")[:3] == [sys.executable, "-m", "dvc"]
