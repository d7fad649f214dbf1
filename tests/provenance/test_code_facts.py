"""The record of the code, made by processes that import chromaflow from a checkout of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import code_digest
from chromaflow.provenance.facts import ELSEWHERE, CodeFacts

ROOT = Path(__file__).parents[2]
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")
LOOK = """
import json, sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import code_facts, uncommitted
{imported}
project = Project(Path.cwd())
patch = uncommitted(project)
Path(sys.argv[1]).write_bytes(patch.content)
print(json.dumps({{"tags": code_facts(project).to_tags(), "missing": patch.missing}}))
"""
Look = Callable[..., tuple[CodeFacts, bytes, list[str]]]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def copy_package(target: Path) -> None:
    shutil.copytree(
        ROOT / "src" / "chromaflow", target, ignore=shutil.ignore_patterns("__pycache__")
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    """A repository with the code as it is now, committed."""
    root = tmp_path / "checkout"
    copy_package(root / "src" / "chromaflow")
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    for name in ("reports/evaluation/metrics.json", "reports/validation/quality.json", "notes.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}\n")
    (root / ".env").write_text("TOKEN=first\n")
    (root / "server-secrets.yaml").write_text("a: first\n")
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "checkout")
    git(root, "add", "--all", "--force", ".env", "server-secrets.yaml", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return Project(root)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Look at a checkout from a process; gives facts, patch, and what the patch is missing."""

    def run(
        project: Project, *, source: Path | None = None, imported: str = ""
    ) -> tuple[CodeFacts, bytes, list[str]]:
        patch = tmp_path / "patch"
        paths = (source or project.root / "src", project.root)
        done = subprocess.run(
            [sys.executable, "-c", LOOK.format(imported=imported), str(patch)],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return CodeFacts.from_tags(told["tags"]), patch.read_bytes(), told["missing"]

    return run


def test_a_clean_checkout(checkout: Project, look: Look, tmp_path: Path) -> None:
    facts, patch, missing = look(checkout)
    assert facts == CodeFacts(
        git(checkout.root, "rev-parse", "HEAD"), "main", "false", digest=facts.digest
    )
    assert (patch, missing) == (b"", [])
    git(tmp_path, "clone", "--quiet", "checkout", "clone")
    assert code_digest(tmp_path / "clone" / "src" / "chromaflow") == facts.digest


def test_settings_records_and_outputs_of_stages_do_not_make_the_code_unclean(
    checkout: Project, look: Look
) -> None:
    root = checkout.root
    for name in ("params.yaml", "reports/evaluation/metrics.json"):
        (root / name).write_text("seed: 18\n")
    for name in ("data.dvc", "dvc.lock", "releases.yaml"):
        (root / name).write_text("new: true\n")
    facts, patch, missing = look(checkout)
    assert (facts.dirty, facts.changed_files, missing) == ("false", "", [])
    assert b"+seed: 18" in patch
    (root / "reports" / "evaluation" / "other.json").write_text("{}\n")
    git(root, "add", "--force", "reports/evaluation/other.json")
    assert look(checkout)[0].changed_files == "reports/evaluation/other.json"


@pytest.mark.parametrize("place", [".", "below"], ids=["whole repository", "part of one"])
def test_commit_and_patch_give_the_code_back(
    checkout: Project, look: Look, tmp_path: Path, place: str
) -> None:
    if place != ".":
        top = tmp_path / "top"
        git(tmp_path, "init", "--quiet", "--initial-branch=main", "top")
        shutil.copytree(checkout.root, top / place, ignore=shutil.ignore_patterns(".git"))
        git(top, "add", "--all", "--force", ".")
        git(top, "commit", "--quiet", "-m", "first")
        checkout = Project(top / place)
    root = checkout.root
    package = root / "src" / "chromaflow"
    for name, value in (("diff.noprefix", "true"), ("color.ui", "always")):
        git(root, "config", name, value)
    (package / "__main__.py").unlink()
    with (package / "errors.py").open("a") as file:
        file.write("# changed\n")
    (package / "new").mkdir()
    (package / "new" / "__init__.py").write_text("")
    (package / "new" / "über.py").write_text("one = 1\n")
    (package / "new" / "ignored.egg-info").write_text("ignored by .gitignore\n")
    (package / "new" / "table.bin").write_bytes(bytes(range(256)) * 4)
    (package / "new" / "latin.txt").write_bytes(b"\xe9\xff\n")
    (root / "flows" / "another.py").write_text("two = 2\n")
    (root / "helper.py").write_text("three = 3")
    (root / "unrelated.txt").write_text("nothing imports it\n")
    git(root, "add", "src/chromaflow/errors.py")
    facts, patch, missing = look(checkout, imported="import helper")
    assert facts.dirty == "true"
    assert {"helper.py", "unrelated.txt", "src/chromaflow/new/ignored.egg-info"} <= set(
        facts.changed_files.split(", ")
    )
    assert missing == ["unrelated.txt (not imported)"]
    repository = git(root, "rev-parse", "--show-toplevel")
    git(tmp_path, "clone", "--quiet", repository, "clone")
    git(tmp_path / "clone", "checkout", "--quiet", facts.commit)
    (tmp_path / "uncommitted.diff").write_bytes(patch)
    where = [] if place == "." else [f"--directory={place}"]
    git(tmp_path / "clone", "apply", *where, str(tmp_path / "uncommitted.diff"))
    clone = tmp_path / "clone" / place
    assert code_digest(clone / "src" / "chromaflow") == facts.digest == code_digest(package)
    for name in ("helper.py", "flows/another.py"):
        assert (clone / name).read_bytes() == (root / name).read_bytes()


def test_the_patch_holds_no_secrets_and_says_what_it_lacks(checkout: Project, look: Look) -> None:
    root = checkout.root
    (root / ".env").write_text("TOKEN=hunter2\n")
    (root / "server-secrets.yaml").write_text("a: hunter2\n")
    (root / "src" / "chromaflow" / "my_password.py").write_text("'hunter2'\n")
    (root / "notes.md").write_text("other notes\n")
    _, patch, missing = look(checkout)
    assert b"+other notes" in patch
    assert b"hunter2" not in patch
    assert b"first" not in patch
    assert missing == [
        ".env (it may hold a secret)",
        "server-secrets.yaml (it may hold a secret)",
        "src/chromaflow/my_password.py (it may hold a secret)",
    ]


def test_what_is_too_large_is_left_out_whole_and_named(checkout: Project, look: Look) -> None:
    root = checkout.root
    package = root / "src" / "chromaflow"
    (package / "errors.py").write_text("x = 1\n")
    (package / "small.py").write_text("y = 2\n")
    (package / "large.py").write_text("x = 1\n" * 400_000)
    (root / "notes.md").write_text("note\n" * 400_000)
    _, patch, missing = look(checkout, source=ROOT / "src")
    assert b"+x = 1" in patch
    assert b"+y = 2" in patch
    assert len(patch) < 1 << 20
    assert missing == ["src/chromaflow/large.py (too large)", "the other changes (too large)"]


def test_a_repository_that_cannot_be_read_is_not_called_clean(
    checkout: Project, look: Look
) -> None:
    (checkout.root / ".git" / "index").write_bytes(b"no index")
    facts, patch, missing = look(checkout)
    assert facts.known_commit
    assert facts.dirty == "unknown"
    assert (patch, missing) == (b"", ["everything (git cannot report what differs)"])


def test_code_that_was_imported_from_elsewhere_is_not_the_commit_s(
    checkout: Project, look: Look, tmp_path: Path
) -> None:
    copy_package(tmp_path / "elsewhere" / "chromaflow")
    facts, _, _ = look(checkout, source=tmp_path / "elsewhere")
    assert facts.dirty == "false", "an installed copy of the same bytes is the same code"
    assert facts.known_commit
    with (tmp_path / "elsewhere" / "chromaflow" / "errors.py").open("a") as file:
        file.write("# changed\n")
    facts, _, _ = look(checkout, source=tmp_path / "elsewhere")
    digest = code_digest(tmp_path / "elsewhere" / "chromaflow")
    assert facts == CodeFacts(ELSEWHERE, digest=digest)
    assert facts.elsewhere
    assert digest != code_digest(checkout.root / "src" / "chromaflow")


def test_without_git_it_says_so(checkout: Project, look: Look) -> None:
    shutil.rmtree(checkout.root / ".git")
    facts, patch, _ = look(checkout)
    assert facts == CodeFacts("none: no commit of git here", digest=facts.digest)
    assert patch == b""


def test_the_digest_is_of_the_code_and_not_of_what_python_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "package" / "a.py").write_text("a = 1\n")
    before = code_digest(tmp_path / "package")
    (tmp_path / "package" / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert code_digest(tmp_path / "package") == before
    (tmp_path / "package" / "a.py").rename(tmp_path / "package" / "b.py")
    assert code_digest(tmp_path / "package") != before
