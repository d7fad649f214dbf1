"""Releases: decisions to accept an image although a rule rejected it, in `releases.yaml`.

The file is tracked by git and an input of the validation, so that a decision is reviewed like code,
and DVC sees it.
"""

import getpass
import subprocess
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project

_HEADER = (
    "# Images that may be used for training although a rule rejected them. `chromaflow "
    "quarantine release` and\n"
    "# `chromaflow quarantine recall` write this file; commit it.\n"
)


# An image that cannot be read, or would stand in two splits, never gets a waiver.
FINAL = frozenset({"decodes", "unique", "near_two_groups", "near_historic", "split_hint"})


class Waiver(BaseModel):
    """One decision.

    Args:
        id: Of the image.
        sha256: Of its bytes; it does not hold for other bytes under the same id.
        rules: That it need not meet.
        why: The reason, in words.
        who: Name and address of git's user, or the name of the system's.
        when: UTC, ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rules: list[str] = Field(min_length=1)
    why: str = Field(pattern=r"\S")
    who: str
    when: str


def read(project: Project) -> list[Waiver]:
    """The decisions, sorted by id; none where there is no file.

    Raises:
        DataError: The file is broken, or holds two decisions about one image.
    """
    path = project.waivers
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
        if not isinstance(entries, list):
            raise ValueError("it is not a list")
        waivers = [Waiver.model_validate(entry) for entry in entries]
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _broken(project, f"{place}: {first['msg']}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _broken(project, str(error)) from None
    if len({waiver.id for waiver in waivers}) < len(waivers):
        raise _broken(project, "it names an image twice")
    return sorted(waivers, key=lambda waiver: waiver.id)


def _broken(project: Project, reason: str) -> DataError:
    return DataError(
        f"{project.waivers} is not a list of waivers: {reason}.",
        f"git checkout {project.waivers.name}, or correct it by hand",
    )


def _write(project: Project, waivers: Collection[Waiver]) -> None:
    entries = [waiver.model_dump() for waiver in sorted(waivers, key=lambda waiver: waiver.id)]
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=100)
    files.write_text(project.waivers, _HEADER + text)


def decider(project: Project) -> str:
    """Who decides: git's user, or the system's."""
    words = []
    for name in ("user.name", "user.email"):
        try:
            result = subprocess.run(
                ["git", "-C", str(project.root), "config", "--get", name],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            break
        words.append(result.stdout.strip())
    if len(words) == 2 and words[0]:
        return f"{words[0]} <{words[1]}>" if words[1] else words[0]
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def add(project: Project, refused: Sequence[tuple[str, str, list[str]]], why: str) -> list[Waiver]:
    """Waive rules for images.

    Args:
        project: The checkout.
        refused: Id, SHA-256 and the rules that are waived, for each image.
        why: The reason.

    Returns:
        The decisions as they stand now; an image that had a waiver before is decided anew, and
        keeps the rules that were waived for it.

    Raises:
        DataError: No reason is given, or the file is broken.
    """
    if not why.strip():
        raise DataError("a waiver needs a reason.", '--why "TEXT"')
    known = {waiver.id: waiver for waiver in read(project)}
    who, when = decider(project), datetime.now(UTC).isoformat(timespec="seconds")
    added = []
    for image, digest, rules in refused:
        old = known.get(image)
        kept = old.rules if old and old.sha256 == digest else []
        added.append(
            Waiver(
                id=image,
                sha256=digest,
                rules=sorted({*kept, *rules}),
                why=why.strip(),
                who=who,
                when=when,
            )
        )
    _write(project, (known | {waiver.id: waiver for waiver in added}).values())
    return added


def remove(project: Project, images: Sequence[str]) -> list[Waiver]:
    """Take waivers back.

    Returns:
        The decisions that held until now.

    Raises:
        DataError: One of the images has no waiver; then all stays as it is.
    """
    known = {waiver.id: waiver for waiver in read(project)}
    if missing := [image for image in images if image not in known]:
        raise DataError(
            f"{', '.join(missing)}: not in {project.waivers.name}.",
            "chromaflow quarantine list shows what is",
        )
    removed = [known.pop(image) for image in dict.fromkeys(images)]
    _write(project, known.values())
    return removed
