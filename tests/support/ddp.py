"""Trains on two processes; Lightning starts this file again for the second one."""

import json
import sys
from pathlib import Path

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.fit import train

root, settings = sys.argv[1:]
summary = train(Project(Path(root)), Settings.model_validate(json.loads(settings)))
print(json.dumps(summary))  # noqa: T201
