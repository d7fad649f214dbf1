import os
import subprocess
from pathlib import Path

import pytest
import yaml

from chromaflow.data.quality import waivers
from chromaflow.errors import DataError
from chromaflow.project.paths import Project

DIGEST = "ab" * 32
NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name, value in NO_CONFIG.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name, value in (("user.name", "Ann Example"), ("user.email", "ann@example.org")):
        subprocess.run(["git", "-C", str(tmp_path), "config", name, value], check=True)
    return Project(tmp_path)


def test_a_decision_is_recorded_with_who_when_why_and_bytes(checkout: Project) -> None:
    (made,) = waivers.add(checkout, [("id1", DIGEST, ["min_chroma"])], " it is fine\n")
    assert (made.who, made.why) == ("Ann Example <ann@example.org>", "it is fine")
    assert made.when.endswith("+00:00")
    assert waivers.read(checkout) == [made]
    text = checkout.waivers.read_text()
    assert text.startswith("# Images that may be used for training")
    assert yaml.safe_load(text)[0]["sha256"] == DIGEST


def test_rules_add_up_for_the_same_bytes_only(checkout: Project) -> None:
    waivers.add(checkout, [("id1", DIGEST, ["min_chroma"])], "one")
    (again,) = waivers.add(checkout, [("id1", DIGEST, ["min_side"])], "two")
    assert again.rules == ["min_chroma", "min_side"]
    (other,) = waivers.add(checkout, [("id1", "cd" * 32, ["min_side"])], "three")
    assert other.rules == ["min_side"]
    assert waivers.read(checkout) == [other]


def test_recalling_takes_back_all_or_nothing(checkout: Project) -> None:
    waivers.add(checkout, [(name, DIGEST, ["min_side"]) for name in ("id1", "id2")], "why")
    before = checkout.waivers.read_bytes()
    with pytest.raises(DataError, match="id3: not in"):
        waivers.remove(checkout, ["id1", "id3"])
    assert checkout.waivers.read_bytes() == before
    assert [entry.id for entry in waivers.remove(checkout, ["id1", "id1"])] == ["id1"]
    assert [entry.id for entry in waivers.read(checkout)] == ["id2"]


def test_a_reason_is_required(checkout: Project) -> None:
    with pytest.raises(DataError, match="needs a reason"):
        waivers.add(checkout, [("id1", DIGEST, ["min_side"])], "  ")
    assert not checkout.waivers.exists()


def test_without_git_the_system_tells_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NO_CONFIG.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOGNAME", "somebody")
    assert waivers.decider(Project(tmp_path)) == "somebody"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not a list of waivers"),
        ("a: 1", "it is not a list"),
        ("- id: x", "sha256"),
        (f"- {{id: x, sha256: {DIGEST}, rules: [], why: w, who: a, when: b}}", "rules"),
        (f"- &a {{id: x, sha256: {DIGEST}, rules: [r], why: w, who: a, when: b}}\n- *a", "twice"),
        ("- !!python/object/apply:os.system [echo]", "is not a list of waivers"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, text: str, reason: str) -> None:
    project = Project(tmp_path)
    project.waivers.write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        waivers.read(project)
    assert "git checkout" in caught.value.remedy
