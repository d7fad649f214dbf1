"""The commands of `chromaflow quarantine`, thin: parse, call, print."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from chromaflow import settings
from chromaflow.project.paths import Project

group = typer.Typer(
    name="quarantine",
    help="Review the images that validation rejected; release one, or revoke a release.",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="NAME", help="Only images that this rule rejected.")
]
Images = Annotated[list[str], typer.Argument(metavar="ID...", help="Image ids.")]
_VALIDATE = "it takes effect at the next validation; commit releases.yaml"


def _print(result: Any, as_json: bool, lines: list[str]) -> None:
    print(json_module.dumps(result, indent=2) if as_json else "\n".join(lines))


@group.command("list")
def list_(reason: ReasonOption = "", json: JsonOption = False) -> None:
    """Count the rejected images by reason; with --reason list each with all of its reasons."""
    from chromaflow.data.quality.review import list_refused

    found = list_refused(Project.find(), reason)
    lines = [f"{count:>9}  {name}" for name, count in found["reasons"].items()]
    if reason:
        lines = [f"{image['id']}  {'; '.join(image['reasons'])}" for image in found["images"]]
    lines.append(f"{found['quarantined']} images in quarantine, {len(found['releases'])} released")
    lines += [
        f"  {release['id']}  from {', '.join(release['rules'])} by {release['who']} at "
        f"{release['when']}: {release['why']}"
        for release in found["releases"]
    ]
    _print(found, json, lines)


@group.command()
def sheet(
    reason: ReasonOption = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the pages.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write contact sheets of the rejected images: pictures with ids and reasons."""
    from chromaflow.reporting.quarantine_sheets import write_sheets

    target = output.expanduser().resolve() if output else None
    project = Project.find()
    folder = target or project.quarantine_sheets
    found = write_sheets(project, settings.load(project), folder, reason)
    line = f"{found['index']}: {found['images']} images on {found['pages']} pages"
    _print(found, json, [line])


@group.command()
def release(
    images: Images,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the record.")],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="NAME", help="Waive only this rule; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Accept rejected images for training; record who, when, why and for which bytes."""
    from chromaflow.data.quality.review import release as decide

    made = decide(Project.find(), images, why, rule or ())
    lines = [f"{entry.id} released from {', '.join(entry.rules)}" for entry in made]
    _print([entry.model_dump() for entry in made], json, [*lines, _VALIDATE])


@group.command()
def recall(images: Images, json: JsonOption = False) -> None:
    """Revoke releases: the rules apply to these images again."""
    from chromaflow.data.quality import waivers

    taken = waivers.remove(Project.find(), images)
    lines = [f"release of {entry.id} from {', '.join(entry.rules)} revoked" for entry in taken]
    _print([entry.model_dump() for entry in taken], json, [*lines, _VALIDATE])
