"""Grey historic photographs, of which nobody knows the true colors: to color and to look at.

They stand in the snapshot in shards of their own, and each row of theirs says so in `split_hint`:
what bears that hint can be assigned to no split that trains, validates or tests.
"""

from chromaflow.data.sources.base import Opener
from chromaflow.data.sources.folder import Folder
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings, SourceSettings


class Historic(Folder):
    """Photographs of the folder `source.historic`, all of them, in addition to any other source.

    Raises:
        DataError: As of `Folder`.
    """

    prefix = "historic:"
    split = "historic"
    setting = "source.historic"
    remedy = "chromaflow ingest --set source.historic=PATH"

    def _choose(self, names: list[str], _settings: SourceSettings) -> list[str]:
        return names


def open_historic(
    project: Project, settings: SourceSettings, _download: DownloadSettings
) -> Historic:
    """The source for the historic photographs that the settings name; raises as `Folder`."""
    return Historic(project, settings.historic, settings)


SOURCE: Opener = open_historic
