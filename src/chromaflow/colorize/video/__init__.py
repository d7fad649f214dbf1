"""Videos colored by a model, steadily: key frames, and their colors carried to those between."""

from chromaflow.colorize.video.read import SUFFIXES
from chromaflow.colorize.video.video import colorize_video, video_output_in

__all__ = ["SUFFIXES", "colorize_video", "video_output_in"]
