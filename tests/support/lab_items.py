"""The images of Lab shards in stored order."""

from chromaflow.data.store.read import LabItem, LabShards


def items_of(shards: LabShards) -> list[LabItem]:
    return [shards[position] for position in range(len(shards))]
