import pytest

from chromaflow.data.sources import wordnet
from chromaflow.errors import DataError


def test_the_table_holds_the_thousand_categories() -> None:
    found = wordnet.categories()
    assert len(found) == 1000
    assert found == sorted(found)
    assert (found[0], found[999]) == ("n01440764", "n15075141")
    assert wordnet.nouns()[found[0]].words == ("tench", "Tinca tinca")


def test_the_hierarchy_is_whole_and_without_a_circle() -> None:
    nouns = wordnet.nouns()
    assert all(parent in nouns for noun in nouns.values() for parent in noun.parents)
    tops = [wnid for wnid, noun in nouns.items() if not noun.parents]
    assert tops == ["n00001740"]
    assert nouns["n00001740"].words == ("entity",)
    # Every noun is on the way from a category to the top.
    assert wordnet.choose(["entity"]) == set(wordnet.categories())

    def depth(wnid: str, seen: tuple[str, ...] = ()) -> int:
        assert wnid not in seen
        return max((1 + depth(p, (*seen, wnid)) for p in nouns[wnid].parents), default=0)

    assert max(depth(wnid) for wnid in wordnet.categories()) < 30


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["n02980441"], {"n02980441"}),
        (["Castle"], {"n02980441"}),
        (["triumphal_arch"], {"n04486054"}),
        (["castle", "palace"], {"n02980441", "n03877845"}),
        (["place of worship"], {"n03028079", "n03788195", "n04346328"}),
        (["crane"], {"n02012849", "n03126707"}),  # the bird and the machine
    ],
)
def test_categories_by_id_and_by_word(wanted: list[str], expected: set[str]) -> None:
    assert wordnet.choose(wanted) == expected


def test_a_wider_word_takes_all_below_it() -> None:
    dogs = wordnet.choose(["dog"])
    assert len(dogs) == 118
    assert dogs < wordnet.choose(["animal"])
    assert len(wordnet.choose([])) == 1000


def test_an_unknown_category_offers_near_names() -> None:
    with pytest.raises(DataError, match="casle; did you mean castle"):
        wordnet.choose(["casle"])
