"""Steadiness, speed and memory of colored video: frame by frame, and propagated from key frames.

Clips are photographs of scikit-image under a moving camera, in color, so that the truth has its own
figures beside; --clip adds others. Each way runs in a process of its own. "budget" is the time that
it takes over that of one prediction of the model for every frame.

    python benchmarks/video.py [--model FOLDER] [--clip FILE ...] [--seconds 10,60] [--costs]

Without --model the default network is untrained: its time and memory are those of a trained one,
its colors are not.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from chromaflow.colorize.predictor import Predictor, shrunk
from chromaflow.colorize.video import colorize_video
from chromaflow.colorize.video.motion import flow_between, followed
from chromaflow.colorize.video.read import Video, describe, frames
from chromaflow.colorize.video.ycbcr import resized
from chromaflow.metrics.cdc import Cdc
from chromaflow.metrics.warp_error import warp_error
from chromaflow.settings.system import SIZE
from common.clips import color_frame_by_frame, pictures, write_clip
from common.machine import measured_in_a_process, peak_memory
from common.models import untrained_predictor

WAYS = ("frame by frame", "propagated")


def chosen(folder: Path | None) -> Predictor:
    return Predictor.load(folder, "cpu") if folder else untrained_predictor()


def prediction_seconds(predictor: Predictor, video: Video) -> float:
    """The best of some predictions of one frame."""
    frame = next(frames(video))
    grey = video.coding.grey_levels()[shrunk(frame.luma, predictor.size)]
    runs = []
    for _ in range(7):
        start = time.perf_counter()
        predictor.predict_small(grey)
        runs.append(time.perf_counter() - start)
    return float(np.median(runs))


def measure(way: str, source: Path, target: Path, folder: Path | None) -> dict[str, float]:
    """Run in a process of its own."""
    predictor = chosen(folder)
    video = describe(source, 10**9)
    before = prediction_seconds(predictor, video)
    start = time.perf_counter()
    if way == "propagated":
        colorize_video(predictor, source, target, overwrite=True)
    else:
        color_frame_by_frame(predictor, source, target)
    seconds = time.perf_counter() - start
    # The load of the machine may change meanwhile.
    predicted = (before + prediction_seconds(predictor, video)) / 2
    return {"seconds": seconds, "prediction": predicted, "peak": peak_memory()}


def run_apart(
    way: str, source: Path, target: Path, arguments: argparse.Namespace
) -> dict[str, float]:
    command = [__file__, "--measure", way, "--clip", str(source)]
    command += ["--target", str(target), "--threads", str(arguments.threads)]
    command += ["--model", str(arguments.model)] if arguments.model else []
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    return measured_in_a_process(command, environment)


def length(path: Path) -> int:
    """Frames, by the packets: nothing is decoded."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255


def steadiness(path: Path, motion_of: Path) -> tuple[float, float]:
    """CDC and warp error of a video, by the motion of the one that it was made from."""
    cdc, errors = Cdc(), []
    before = None
    for rgb, moving in zip(pictures(path), pictures(motion_of), strict=True):
        cdc.update(tensor(rgb))
        grey = shrunk(cv2.cvtColor(moving, cv2.COLOR_RGB2GRAY), SIZE)
        if before is not None:
            there, back = flow_between(grey, before[1]), flow_between(before[1], grey)
            visible = followed(there, back)
            now, then = (tensor(resized(one, *visible.shape)) for one in (rgb, before[0]))
            flow = torch.from_numpy(there).permute(2, 0, 1)[None]
            mask = torch.from_numpy(visible)[None, None]
            errors.append(warp_error(now, then, flow, mask).item())
        before = rgb, grey
    return cdc.compute().item(), float(np.mean(errors))


def shown(steady: tuple[float, float]) -> str:
    return " | ".join(f"{1000 * value:.3f}" for value in steady)


def report(name: str, source: Path, folder: Path, arguments: argparse.Namespace) -> None:
    count = length(source)
    for way in WAYS[1:] if arguments.costs else WAYS:
        target = folder / f"{name}-{way.replace(' ', '-')}.mp4"
        result = run_apart(way, source, target, arguments)
        rate, peak = count / result["seconds"], result["peak"] / 2**20
        costs = f"{rate:.1f} | {1 / rate / result['prediction']:.2f} | {peak:.0f}"
        steady = " | " if arguments.costs else shown(steadiness(target, source))
        print(f"| {name} | {way} | {steady} | {costs} |", flush=True)
    if not arguments.costs:
        print(f"| {name} | as it was | {shown(steadiness(source, source))} | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="may be repeated")
    parser.add_argument("--seconds", default="10", help="of the clips made here, with commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--costs", action="store_true", help="time and memory alone, propagated")
    parser.add_argument("--keep", type=Path, help="folder to keep the colored clips in")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    if arguments.measure:
        result = measure(arguments.measure, arguments.clip[0], arguments.target, arguments.model)
        print(json.dumps(result))
        return
    print(f"{arguments.threads} threads; CDC and warp error in thousandths\n")
    print("| clip | way | CDC | warp error | frames/s | budget | peak memory, MiB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seconds in filter(None, arguments.seconds.split(",")):
            clip = Path(temporary) / f"{seconds}-s.mp4"
            write_clip(clip, int(seconds))
            report(clip.stem, clip, folder, arguments)
        for clip in arguments.clip:
            report(clip.stem, clip, folder, arguments)


if __name__ == "__main__":
    main()
