"""Typed settings of a checkout, read from `params.yaml`."""

from chromaflow.settings.data import Download, Preprocess, Quality, Source, Split
from chromaflow.settings.groups import (
    Evaluation,
    Flow,
    Lineage,
    Promotion,
    Runtime,
    Servers,
    Settings,
    Tracking,
)
from chromaflow.settings.reading import load, preset_names, recipe_names
from chromaflow.settings.system import Model, Training
from chromaflow.settings.writing import changed, render, save

__all__ = [
    "Download",
    "Evaluation",
    "Flow",
    "Lineage",
    "Model",
    "Preprocess",
    "Promotion",
    "Quality",
    "Runtime",
    "Servers",
    "Settings",
    "Source",
    "Split",
    "Tracking",
    "Training",
    "changed",
    "load",
    "preset_names",
    "recipe_names",
    "render",
    "save",
]
