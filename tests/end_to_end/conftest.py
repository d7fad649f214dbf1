import subprocess

import pytest

from chromaflow.project.paths import Project
from tests.support.clone import ROOT, SMALL, chromaflow


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the working tree as it is now, with the small settings."""
    root = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "clone"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return Project(root)


@pytest.fixture(scope="module")
def trained(clone):
    """The clone after its first retraining, and what that printed."""
    overrides = [f"--set={text}" for text in SMALL]
    return clone, chromaflow(clone, "retrain", "--preset=sample", *overrides).stdout
