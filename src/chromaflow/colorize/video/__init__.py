"""Videos colored by a model, steadily: key frames, and their colors carried to those between."""

from chromaflow.colorize.video.colorize import colorize_video, video_output_in
from chromaflow.colorize.video.read import SUFFIXES

__all__ = ["SUFFIXES", "colorize_video", "video_output_in"]
