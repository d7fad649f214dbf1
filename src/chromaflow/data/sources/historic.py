"""Grey historic photographs, of which nobody knows the true colors: to color and to look at.

They stand in the snapshot in shards of their own, and each row of theirs says so in `split_hint`:
what bears that hint can be assigned to no split that trains, validates or tests.
"""

from chromaflow.data.sources.base import Opener
from chromaflow.data.sources.folder import Folder
from chromaflow.settings import Settings


class Historic(Folder):
    """Photographs of the folder `source.historic`, all of them, beside any other source.

    Raises:
        DataError: As of `Folder`.
    """

    prefix = "historic:"
    split = "historic"
    setting = "source.historic"
    mend = "chromaflow ingest --set source.historic=PATH"

    def _text(self, settings: Settings) -> str:
        return settings.source.historic

    def _choose(self, names: list[str], _settings: Settings) -> list[str]:
        return names


SOURCE: Opener = Historic
