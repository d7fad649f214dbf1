"""What is known of the collections that images come from: who made them, and how to cite them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A published collection of photographs.

    Args:
        title: Its name.
        creators: Who made it.
        url: Of its page.
        citation: In BibTeX.
        collection: How its photographs were gathered, as its makers say.
    """

    title: str
    creators: tuple[str, ...]
    url: str
    citation: str
    collection: str


_SKIMAGE = """@article{scikit-image,
  title = {scikit-image: image processing in {Python}},
  author = {van der Walt, St{\\'e}fan and Sch{\\"o}nberger, Johannes L. and Nunez-Iglesias, Juan
    and Boulogne, Fran{\\c{c}}ois and Warner, Joshua D. and Yager, Neil and Gouillart, Emmanuelle
    and Yu, Tony and the scikit-image contributors},
  journal = {PeerJ}, volume = {2}, pages = {e453}, year = {2014}, doi = {10.7717/peerj.453}
}"""
_CVCL = """@article{oliva2001modeling,
  title = {Modeling the shape of the scene: a holistic representation of the spatial envelope},
  author = {Oliva, Aude and Torralba, Antonio},
  journal = {International Journal of Computer Vision}, volume = {42}, number = {3},
  pages = {145--175}, year = {2001}, doi = {10.1023/A:1011139631724}
}"""
_COCO = """@inproceedings{lin2014microsoft,
  title = {Microsoft {COCO}: common objects in context},
  author = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro
    and Ramanan, Deva and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle = {European Conference on Computer Vision}, pages = {740--755}, year = {2014},
  doi = {10.1007/978-3-319-10602-1_48}
}"""
_IMAGENET = """@article{russakovsky2015imagenet,
  title = {{ImageNet} large scale visual recognition challenge},
  author = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev
    and Ma, Sean and Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael
    and Berg, Alexander C. and Fei-Fei, Li},
  journal = {International Journal of Computer Vision}, volume = {115}, number = {3},
  pages = {211--252}, year = {2015}, doi = {10.1007/s11263-015-0816-y}
}"""
_UNSPLASH = """@misc{unsplash2020dataset,
  title = {The {Unsplash} dataset, lite}, author = {{Unsplash}}, year = {2020},
  howpublished = {https://unsplash.com/data}
}"""

# By the names of chromaflow.sources; a folder of one's own has no entry.
ORIGINS = {
    "sample": Origin(
        "photographs of scikit-image",
        ("the scikit-image contributors",),
        "https://scikit-image.org/docs/stable/api/skimage.data.html",
        _SKIMAGE,
        "tiles of the color photographs that scikit-image ships as examples",
    ),
    "cvcl": Origin(
        "MIT CVCL urban and natural scene categories",
        ("Aude Oliva", "Antonio Torralba"),
        "http://cvcl.mit.edu/database.htm",
        _CVCL,
        "photographs of eight categories of scenes, 256 × 256 pixels, labeled by category",
    ),
    "coco": Origin(
        "COCO, common objects in context",
        ("the COCO Consortium",),
        "https://cocodataset.org",
        _COCO,
        "photographs that users of Flickr published, chosen for everyday objects in their context",
    ),
    "imagenet": Origin(
        "ImageNet, ILSVRC 2012",
        ("the ImageNet team",),
        "https://www.image-net.org",
        _IMAGENET,
        "photographs found by image search for the nouns of WordNet, verified by crowd workers",
    ),
    "unsplash": Origin(
        "Unsplash dataset, lite",
        ("Unsplash",),
        "https://unsplash.com/data",
        _UNSPLASH,
        "photographs with a theme of nature that photographers published on Unsplash",
    ),
}
