"""Images and labels: opening datasets, loading pictures, splitting for selection, fingerprinting content."""

from subband.data.damage import Damaged
from subband.data.fingerprint import fingerprint, fingerprint_dataset, fingerprint_images
from subband.data.images import FileSource, MaskFileSource, decode_image
from subband.data.preprocess import Masks, Preprocess, load_images, load_masks
from subband.data.sample import Category, Dataset, ImageSource, Sample
from subband.data.split import SELECTIONS, Selection, Split, Truth, split_category
from subband.data.uri import SCHEMES, open_dataset

__all__ = [
    "SCHEMES",
    "SELECTIONS",
    "Category",
    "Damaged",
    "Dataset",
    "FileSource",
    "ImageSource",
    "MaskFileSource",
    "Masks",
    "Preprocess",
    "Sample",
    "Selection",
    "Split",
    "Truth",
    "decode_image",
    "fingerprint",
    "fingerprint_dataset",
    "fingerprint_images",
    "load_images",
    "load_masks",
    "open_dataset",
    "split_category",
]
