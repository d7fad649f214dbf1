"""Typed settings of a checkout, read from `params.yaml`."""

from chromaflow.settings.data import DownloadSettings, Preprocess, Quality, Split
from chromaflow.settings.groups import (
    Evaluation,
    Flow,
    LineageSettings,
    Promotion,
    Runtime,
    Servers,
    Settings,
    Tracking,
)
from chromaflow.settings.paths import with_absolute_weights
from chromaflow.settings.sources import SourceSettings
from chromaflow.settings.system import Model, Training
from chromaflow.settings.yaml.reading import load, preset_names, recipe_names
from chromaflow.settings.yaml.writing import changed, flatten, render, save

__all__ = [
    "DownloadSettings",
    "Evaluation",
    "Flow",
    "LineageSettings",
    "Model",
    "Preprocess",
    "Promotion",
    "Quality",
    "Runtime",
    "Servers",
    "Settings",
    "SourceSettings",
    "Split",
    "Tracking",
    "Training",
    "changed",
    "flatten",
    "load",
    "preset_names",
    "recipe_names",
    "render",
    "save",
    "with_absolute_weights",
]
