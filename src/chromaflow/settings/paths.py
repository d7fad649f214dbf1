"""Make the paths in settings absolute, for code that does not know the checkout."""

from typing import TypeVar

from chromaflow.project.paths import Project
from chromaflow.settings.base import Group
from chromaflow.settings.groups import Settings
from chromaflow.settings.networks import PretrainedNetwork

_G = TypeVar("_G", bound=Group)
# Values of these settings that are not paths; an empty text leaves the choice to the network.
_NO_PATHS = ("", "published", "none")


def with_absolute_weights(project: Project, settings: Settings) -> Settings:
    """The settings, with absolute paths of the files of weights.

    Args:
        project: The checkout that relative paths are relative to.
        settings: Any.
    """

    def absolute(group: _G, field: str) -> _G:
        text = getattr(group, field)
        path = text if text in _NO_PATHS else str(project.locate(text))
        return group.model_copy(update={field: path})

    model, training = settings.model, settings.training
    if isinstance(model.network, PretrainedNetwork):
        network = absolute(model.network, "weights")
        model = model.model_copy(update={"network": network})
    if training.losses.perceptual is not None:
        perceptual = absolute(training.losses.perceptual, "backbone_weights")
        losses = training.losses.model_copy(update={"perceptual": perceptual})
        training = training.model_copy(update={"losses": losses})
    return settings.model_copy(update={"model": model, "training": training})
