"""The command line in a clone, at small scale."""

import subprocess
import sys
from pathlib import Path

from chromaflow.project import dvc
from chromaflow.project.paths import Project

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "model.network.width=0.125",
    "preprocess.size=64",
    "source.tile=96",
    "training.batch=4",
    "training.crop=64",
    "training.steps=12",
    "training.validate_every=6",
    "evaluation.size=64",
    "evaluation.pictures=2",
    "promotion.resamples=200",
    "runtime.checkpoint_every=0s",
    # A busy machine may take minutes to start a server.
    "servers.start_timeout=1h",
)


def chromaflow(
    project: Project, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in the clone; give what it printed and how it ended."""
    result = subprocess.run(
        [sys.executable, "-m", "chromaflow", *arguments],
        cwd=project.root,
        env=dvc.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result
