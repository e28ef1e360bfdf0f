"""Images and labels: opening datasets, loading images, splitting for selection, fingerprinting content.

Examples for segmentation are in `subband.data.segmentation.examples`, which imports torch.
"""

from subband.data.anomaly.damage import Damaged
from subband.data.classification.labelled import ClassData, LabelledPictures, class_data
from subband.data.examples import ExampleKey, Examples
from subband.data.fingerprint import fingerprint, fingerprint_dataset, fingerprint_images, pooled_fingerprint
from subband.data.images import FileSource, MaskFileSource, decode_frames, decode_image
from subband.data.notes import dataset_notes
from subband.data.preprocess import Masks, Preprocess, load_images, load_masks
from subband.data.sample import Category, Dataset, ImageSource, Sample
from subband.data.segmentation.masks import MASK_RULES, MaskRule, check_pairs
from subband.data.split import SELECTIONS, Selection, Split, Truth, split_category
from subband.data.task_data import TaskData
from subband.data.uri import SCHEMES, is_embedded, open_dataset

__all__ = [
    "MASK_RULES",
    "SCHEMES",
    "SELECTIONS",
    "Category",
    "ClassData",
    "Damaged",
    "Dataset",
    "ExampleKey",
    "Examples",
    "FileSource",
    "ImageSource",
    "LabelledPictures",
    "MaskFileSource",
    "MaskRule",
    "Masks",
    "Preprocess",
    "Sample",
    "Selection",
    "Split",
    "TaskData",
    "Truth",
    "check_pairs",
    "class_data",
    "dataset_notes",
    "decode_frames",
    "decode_image",
    "fingerprint",
    "fingerprint_dataset",
    "fingerprint_images",
    "is_embedded",
    "load_images",
    "load_masks",
    "open_dataset",
    "pooled_fingerprint",
    "split_category",
]
