"""`chromaflow colorize`, thin: parse, call, print; heavy imports wait until it runs."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chromaflow import settings
from chromaflow.cli_options import JsonOption, PresetOption, SetOption, load, print_result

_HINTS = "Hints, for a model that follows them"


# Both are for before the checkout becomes the current folder.
def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().resolve() if path else None


def _text_or_file(text: str) -> str | Path:
    # Path.is_file raises where a text is too long for a name.
    return Path(text).resolve() if os.path.isfile(text) else text  # noqa: PTH113


def colorize(
    photographs: Annotated[list[Path], typer.Argument(help="Photographs or folders of them.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the colored pictures.")
    ] = Path("colorized"),
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder instead of the champion.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pictures beside the photographs, too.")
    ] = False,
    hints: Annotated[
        Path | None,
        typer.Option(
            "--hints",
            metavar="FILE",
            help="Colors of places in one photograph: JSON with points, or a picture of its size "
            "with strokes.",
            rich_help_panel=_HINTS,
        ),
    ] = None,
    palette: Annotated[
        str,
        typer.Option(
            metavar="COLORS",
            help='Colors to use, such as "#aa3311, teal", or a text file of them.',
            rich_help_panel=_HINTS,
        ),
    ] = "",
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="PICTURE",
            help="A picture whose colors and saturation to follow.",
            rich_help_panel=_HINTS,
        ),
    ] = None,
    saturation: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Mean saturation to reach.", rich_help_panel=_HINTS),
    ] = None,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Color grey photographs with the champion, at their own size and lightness.

    Each becomes NAME-color in the output folder. A file that cannot be colored is named at the
    end, and the rest goes on; the exit code is 1 then.
    """
    sources = [path.expanduser().resolve() for path in photographs]
    target = output.expanduser().resolve()
    folder, hints, reference = _absolute(model), _absolute(hints), _absolute(reference)
    colors = _text_or_file(palette)
    if folder and not (preset or set_):
        values = settings.Settings()
    else:
        project, values = load(preset, set_)
    if folder is None:
        from chromaflow.tracking.registry import champion_folder

        folder = champion_folder(project, values)
    from chromaflow.colorize import colorize_many
    from chromaflow.models.folder import load_model

    limit = values.source.max_pixels
    told = None
    if hints or palette or reference or saturation is not None:
        from chromaflow.colorize.hints import read_hints

        told = read_hints(
            hints, palette=colors, reference=reference, saturation=saturation, max_pixels=limit
        )
    summary = colorize_many(
        load_model(folder), sources, target, max_pixels=limit, overwrite=overwrite, hints=told
    )
    line = f"{summary.done} colored, {len(summary.failed)} failed: {target}"
    if summary.were_colored:
        line += f"\n{summary.were_colored} had color already and were colored anew"
    print_result(dataclasses.asdict(summary), json, line)
    for failure in summary.failed:
        print(f"  {failure['file']}: {failure['reason']}", file=sys.stderr)
    if summary.failed:
        raise typer.Exit(1)
