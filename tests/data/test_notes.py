"""What is said, or refused, of masks and of images that are there twice."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from subband.data import check_pairs, dataset_notes, open_dataset
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, write_mask, write_picture

SIZE = (24, 16)


@pytest.fixture
def cap(tmp_path):
    """One category with four masks; a function that writes another mask in place of each."""
    return build_mvtec_category(tmp_path / "products" / "cap")


def rewrite(folder, draw):
    """Replace every mask by what `draw` makes of the defect, bool (16, 24)."""
    defect = np.zeros(SIZE[::-1], bool)
    defect[5:10, 8:16] = True
    for file in folder.glob("ground_truth/*/*.png"):
        image = draw(defect)
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file)


def opened(folder, query=""):
    return open_dataset(f"mvtec:{folder.parent}{query}")


def marked(folder, query=""):
    """Numbers of defective pixels of the masks."""
    samples = opened(folder, query).category("cap").test
    return {int(np.count_nonzero(np.asarray(sample.mask.open()))) for sample in samples if sample.mask is not None}


def palette(defect, colours):
    image = Image.fromarray(defect.astype(np.uint8), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def test_plain_masks_need_no_note(cap):
    assert dataset_notes(opened(cap)) == []


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 0, 0)])
def test_the_alpha_channel_is_the_mask_where_colours_are_constant(cap, colour):
    def draw(defect):
        return np.dstack(
            [np.broadcast_to(np.array(colour, np.uint8), (*defect.shape, 3)), defect.astype(np.uint8) * 255]
        )

    rewrite(cap, draw)
    assert marked(cap) == {40}


def test_index_0_of_a_palette_is_the_background_whatever_its_colour(cap):
    rewrite(cap, lambda defect: palette(defect, [(250, 250, 250), (200, 0, 0)]))
    assert marked(cap) == {40}


@pytest.mark.parametrize(
    "draw",
    [
        lambda defect: np.where(defect, 2, 1).astype(np.uint8),
        lambda defect: np.full(defect.shape, 255, np.uint8),
        lambda defect: np.where(defect, 255, 128).astype(np.uint8),
    ],
    ids=["ids 1 and 2", "all white", "grey background"],
)
def test_masks_without_background_are_refused(cap, draw):
    rewrite(cap, draw)
    with pytest.raises(DataError, match=r"4 of 4 masks have no background.*masks=inverted"):
        dataset_notes(opened(cap))


def test_masks_that_mark_nothing_are_refused(cap):
    rewrite(cap, lambda defect: np.zeros(defect.shape, np.uint8))
    with pytest.raises(DataError, match="4 of 4 masks mark nothing"):
        dataset_notes(opened(cap))


def test_inverted_masks_are_noted_and_can_be_read(cap):
    rewrite(cap, lambda defect: np.where(defect, 0, 255).astype(np.uint8))
    (note,) = dataset_notes(opened(cap))
    assert re.search(r"mark 90% of all pixels.*add masks=inverted", note)
    assert marked(cap, "?masks=inverted") == {40}
    assert dataset_notes(opened(cap, "?masks=inverted")) == []


def test_soft_edges_are_noted_with_their_levels_and_can_be_cut(cap):
    def draw(defect):
        soft = np.where(defect, 255, 0).astype(np.uint8)
        soft[4, 8:16], soft[3, 8:16] = 90, 30
        return soft

    rewrite(cap, draw)
    (note,) = dataset_notes(opened(cap))
    assert re.search(r"4 of 4 masks have soft edges, with up to 4 grey levels .*masks=threshold", note)
    assert marked(cap) == {56}
    assert marked(cap, "?masks=threshold") == {40}
    assert opened(cap, "?masks=threshold").uri.endswith("masks=threshold")


def test_images_in_training_and_test_are_counted(cap):
    shutil.copy(cap / "train/good/000.png", cap / "test/good/copy.png")
    (note,) = dataset_notes(opened(cap))
    assert "1 images are in both training and test data" in note


def test_one_image_under_two_labels_is_refused_unless_the_uri_keeps_it(cap):
    shutil.copy(cap / "test/cut/000.png", cap / "train/good/odd.png")
    with pytest.raises(
        DataError, match=r"odd\.png is good as train/good/odd and defective as test/cut/000.*conflicts=keep"
    ):
        dataset_notes(opened(cap))
    notes = dataset_notes(opened(cap, "?conflicts=keep"))
    assert any("kept by conflicts=keep" in note for note in notes)
    with pytest.raises(DataError, match="'kep' is not a value of conflicts"):
        opened(cap, "?conflicts=kep")


def test_a_folder_of_ones_own_has_the_same_rules(tmp_path):
    for index in range(5):
        write_picture(tmp_path / "ok" / f"{index}.png", seed=index)
    write_picture(tmp_path / "ng" / "a.png", seed=50)
    write_mask(tmp_path / "masks" / "a.png", value=1)
    Image.fromarray(np.full(SIZE[::-1], 255, np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="rule=inverted"):
        dataset_notes(open_dataset(f"folder:{tmp_path}?good=ok&bad=ng&masks=masks"))


def test_label_ids_with_255_can_be_read_with_255_left_out(tmp_path):
    ids = np.zeros(SIZE[::-1], np.uint8)
    ids[4:8, 4:8], ids[0] = 1, 255
    for part in ("train", "test"):
        for index in range(2):
            write_picture(tmp_path / part / "images" / f"{index}.png", seed=index + len(part))
            (tmp_path / part / "gt").mkdir(exist_ok=True)
            Image.fromarray(ids).save(tmp_path / part / "gt" / f"{index}.png")
    with pytest.raises(DataError, match=r"look like the label ids 0, 1, 255.*masks=ids"):
        check_pairs(open_dataset(f"pairs:{tmp_path}").category(tmp_path.name).train)
    sample = open_dataset(f"pairs:{tmp_path}?masks=ids").category(tmp_path.name).test[0]
    assert np.count_nonzero(np.asarray(sample.mask.open())) == 16
