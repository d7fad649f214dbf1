"""The pipeline steps in order: the table that the command line, the flow and the tests read.

Each is the function `<name>(project, settings)` in `chromaflow/steps/<name>.py`; its libraries are
loaded when it runs. A new step is a module there and a line here; a stage also needs an entry in
`dvc.yaml`.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from chromaflow.project.paths import Project
from chromaflow.settings import Settings


class Result(Protocol):
    """What a step returns; immutable."""

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
        name: Of the command, the module, its function and, for a stage, the entry in `dvc.yaml`.
        help: What it does, in a sentence.
        stage: Whether DVC tracks its inputs and outputs, and so knows whether it is up to date. The
            others change what DVC does not track: its own record of the data, or the registry.
        recipe: Whether it depends on the recipe.
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
    Step("ingest", "Build the raw snapshot data/raw from the source and record it in data.dvc."),
    Step(
        "validate",
        "Validate the manifest with Great Expectations; write splits and quarantine.",
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
        "Train the network on the Lab shards; resumes from the last checkpoint if interrupted.",
        stage=True,
        recipe=True,
    ),
    Step(
        "evaluate",
        "Evaluate the candidate and the baselines on the held-out test split.",
        stage=True,
        recipe=True,
    ),
    Step(
        "register",
        "Register the candidate as a model version; the same weights are registered only once.",
        recipe=True,
    ),
    Step(
        "promote",
        "Promote the candidate to champion if it is better on the held-out images; report why or "
        "why not.",
        recipe=True,
    ),
    Step("report", "Write reports/index.html and print its tables.", recipe=True),
)
