"""The 1000 categories of ImageNet (ILSVRC 2012-2017) and the nouns of WordNet above them.

`wordnet.csv` holds a line a noun: its id (`n` and the offset in WordNet 3.0, by which ImageNet
names its folders), whether it is one of the 1000 categories, its words, and the ids of the nouns
right above it. The words and the hierarchy are those of WordNet 3.0, Copyright 2006 by Princeton
University, all rights reserved (https://wordnet.princeton.edu/license-and-commercial-use); which
1000 nouns are categories is in the ImageNet challenge.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from chromaflow.data.sources.categories import unknown


class Noun(NamedTuple):
    """A noun of WordNet: whether ImageNet has it as a category, its words, what is above it."""

    is_category: bool
    words: tuple[str, ...]
    parents: tuple[str, ...]


@lru_cache(maxsize=1)
def nouns() -> dict[str, Noun]:
    """The nouns by their ids, in the order of these."""
    file = resources.files(__package__) / "wordnet.csv"
    with file.open(encoding="utf-8") as lines:
        return {
            row["wnid"]: Noun(
                row["is_category"] == "1",
                tuple(row["words"].split("|")),
                tuple(filter(None, row["parents"].split("|"))),
            )
            for row in csv.DictReader(lines)
        }


@lru_cache(maxsize=1)
def categories() -> list[str]:
    """The ids of the 1000 categories in ascending order, which is that of their class numbers."""
    return [wnid for wnid, noun in nouns().items() if noun.is_category]


def _below(tops: set[str]) -> set[str]:
    """Some nouns with all that are below them."""
    children = defaultdict(set)
    for wnid, noun in nouns().items():
        for parent in noun.parents:
            children[parent].add(wnid)
    found: set[str] = set()
    waiting = set(tops)
    while waiting:
        found |= waiting
        waiting = {child for wnid in waiting for child in children[wnid]} - found
    return found


def choose(wanted: Sequence[str]) -> set[str]:
    """The categories that are meant, or below what is meant.

    Args:
        wanted: WordNet ids such as `n02980441`, or words such as `castle` and `building`; upper
            and lower case, space and underscore are the same. Empty means all categories.

    Raises:
        DataError: One of them is above no category; near names are offered.
    """
    by_word = defaultdict(set)
    for wnid, noun in nouns().items():
        for word in (wnid, *noun.words):
            by_word[word.lower()].add(wnid)
    found: set[str] = set()
    for text in wanted:
        word = text.replace("_", " ").strip().lower()
        if word not in by_word:
            raise unknown(text, by_word, "ImageNet")
        found |= _below(by_word[word])
    return (found or set(nouns())) & set(categories())
