"""`chromaflow colorize`, thin: parse, call, print; heavy imports wait until it runs."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chromaflow import settings
from chromaflow.cli.options import JsonOption, PresetOption, SetOption, load, print_result

_HINTS = "Hints, for a model that follows them"


def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().resolve() if path else None


def _text_or_file(text: str) -> str | Path:
    # Path.is_file raises where a text is too long for a name.
    return Path(text).resolve() if os.path.isfile(text) else text  # noqa: PTH113


def _model_folder(
    folder: Path | None, preset: str, set_: list[str] | None
) -> tuple[Path, settings.Settings]:
    """A model folder, or the champion's; a folder alone needs no checkout."""
    if folder and not (preset or set_):
        return folder, settings.Settings()
    project, values = load(preset, set_)
    if folder is None:
        from chromaflow.tracking.registry.registry import Registry

        folder = Registry(project, values).champion_folder()
    return folder, values


DeviceOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu or cuda; auto uses CUDA where available."),
]


def colorize(
    photographs: Annotated[
        list[Path], typer.Argument(help="Photographs, videos or folders of them.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the colored pictures.")
    ] = Path("colorized"),
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder instead of the champion.")
    ] = None,
    key_model: Annotated[
        Path | None,
        typer.Option("--key-model", help="A model folder to color the key frames of videos."),
    ] = None,
    refine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Refine the predicted color, guided by lightness: crf, guided, joint_bilateral, "
            "superpixels, total_variation or none; default: the model's own setting.",
        ),
    ] = "",
    upsample: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How color is upsampled to full size: bilinear, or edge-aware: guided or "
            "joint_bilateral.",
        ),
    ] = "bilinear",
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite pictures next to the photographs, too.")
    ] = False,
    hints: Annotated[
        Path | None,
        typer.Option(
            "--hints",
            metavar="FILE",
            help="Colors at places of one photograph: JSON with points, or a picture of its size "
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
    """Color grey photographs and videos with the champion, at their own size and lightness.

    Each becomes NAME-color in the output folder; videos keep their sound and frame timestamps. A
    file that cannot be colored does not stop the others; it is listed at the end, and the exit code
    is 1. An interrupted video resumes where it stopped.
    """
    sources = [path.expanduser().resolve() for path in photographs]
    target = output.expanduser().resolve()
    folder, hints, reference = _absolute(model), _absolute(hints), _absolute(reference)
    key_folder = _absolute(key_model)
    colors = _text_or_file(palette)
    folder, values = _model_folder(folder, preset, set_)
    from chromaflow.colorize.batch import colorize_many
    from chromaflow.colorize.predictor import ColorOptions, Predictor

    limit = values.source.max_pixels
    given = None
    if hints or palette or reference or saturation is not None:
        from chromaflow.colorize.hints import read_hints

        given = read_hints(
            hints, palette=colors, reference=reference, saturation=saturation, max_pixels=limit
        )
    options = ColorOptions(refine=refine or None, upsample=upsample, hints=given)
    summary = colorize_many(
        Predictor.load(folder, device),
        sources,
        target,
        options=options,
        max_pixels=limit,
        overwrite=overwrite,
        key_predictor=Predictor.load(key_folder, device) if key_folder else None,
    )
    line = f"{summary.done} colored, {len(summary.failed)} failed: {target}"
    if summary.were_colored:
        line += f"\n{summary.were_colored} already had color and were recolored"
    print_result(dataclasses.asdict(summary), json, line)
    for note in summary.notes:
        print(f"  {note['file']}: {note['note']}", file=sys.stderr)
    for failure in summary.failed:
        print(f"  {failure['file']}: {failure['reason']}", file=sys.stderr)
    if summary.failed:
        raise typer.Exit(1)


def export(
    target: Annotated[Path, typer.Argument(help="The ONNX file to write.")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder instead of the champion.")
    ] = None,
    side: Annotated[
        int,
        typer.Option(min=0, help="Side of the square input image, pixels; 0: any size."),
    ] = 0,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write the champion as ONNX: lightness (1, 1, H, W) in 0..100 to ab (1, 2, H, W).

    It is checked that ONNX Runtime gives the same colors within 0.01 CIE units.
    """
    place = target.expanduser().resolve()
    folder, _ = _model_folder(_absolute(model), preset, set_)
    from chromaflow.models.model_folder import load_model, model_digest
    from chromaflow.models.onnx import export_onnx

    digest = model_digest(folder, exact=False)
    difference = export_onnx(load_model(folder), place, digest=digest, side=side)
    result = {"target": str(place), "difference": difference}
    print_result(result, json, f"{place}: at most {difference:.1g} CIE units from torch's colors")
