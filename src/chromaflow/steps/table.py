"""The steps of the main job, in their order: what the command line, the flow and the tests read.

Each is the function `<name>(project, settings)` in `chromaflow/steps/<name>.py`; its libraries are
loaded when it runs. A new step is a module there and a line here; a stage is one more entry in
`dvc.yaml`.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from chromaflow.project.paths import Project
from chromaflow.settings import Settings


class Result(Protocol):
    """What a step gives; immutable."""

    def to_json(self) -> Any:
        """For programs: what `--json` prints."""
        ...

    def summary(self) -> str:
        """For people: the lines that the command prints."""
        ...


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: The command, the module, its function and, of a stage, the entry in `dvc.yaml`.
        help: What it does, in a sentence.
        stage: Whether DVC knows its inputs and outputs, and so whether it is already done. The
            others change what DVC does not own: its own record of the data, or the registry.
        recipe: Whether a recipe matters to it.
    """

    name: str
    help: str
    stage: bool = False
    recipe: bool = False

    def run(self, project: Project, settings: Settings) -> Result:
        """Run it in this process.

        Args:
            project: The checkout.
            settings: Its settings.

        Raises:
            UserError: Whatever stops it, with the remedy.
        """
        module = import_module(f"{__package__}.{self.name}")
        result: Result = getattr(module, self.name)(project, settings)
        return result


STEPS = (
    Step("ingest", "Make the raw snapshot data/raw from the source and record it in data.dvc."),
    Step(
        "validate",
        "Check the manifest with Great Expectations; write splits and quarantine.",
        stage=True,
    ),
    Step(
        "describe",
        "Write the data card and the metadata of the accepted snapshot; send a lineage event.",
        stage=True,
    ),
    Step("preprocess", "Convert the accepted photographs to shards of 8-bit Lab.", stage=True),
    Step(
        "train",
        "Train the network on the Lab shards; resumes from the last checkpoint after a kill.",
        stage=True,
        recipe=True,
    ),
    Step(
        "evaluate",
        "Measure the candidate and the baselines on the held-out split.",
        stage=True,
        recipe=True,
    ),
    Step(
        "register",
        "Give the candidate a version in the registry; the same weights are never two versions.",
        recipe=True,
    ),
    Step(
        "promote",
        "Make the candidate the champion if it is better on the held-out images; say why or why "
        "not.",
        recipe=True,
    ),
    Step("report", "Write reports/index.html and print its tables.", recipe=True),
)
