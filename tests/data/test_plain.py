"""`images:PATH`: any folder of images, for predictions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from subband.data import open_dataset
from subband.errors import DataError


def test_pictures_of_a_folder_and_its_sub_folders_are_test_samples_without_masks(tmp_path):
    (tmp_path / "new" / "line 2").mkdir(parents=True)
    for name in ("b.jpg", "a.png", "line 2/a.png", "notes.txt"):
        file = tmp_path / "new" / name
        file.write_text("no image") if file.suffix == ".txt" else Image.new("RGB", (9, 7), "red").save(file)
    dataset = open_dataset(f"images:{tmp_path / 'new'}")
    (name,) = dataset.categories
    category = dataset.category(name)
    assert [sample.name for sample in category.test] == ["test/a", "test/b", "test/line 2/a"]
    assert category.train == ()
    assert all(sample.mask is None for sample in category.test)
    assert np.asarray(category.test[0].image.open()).shape == (7, 9, 3)
    assert open_dataset(dataset.uri).category(name) == category


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image, nor do its sub-folders"):
        open_dataset(f"images:{tmp_path}")
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(f"images:{tmp_path / 'nowhere'}")
