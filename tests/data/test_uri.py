"""Opening datasets by URI."""

import pytest

from subband.data import SCHEMES, open_dataset
from subband.errors import DataError


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mvtek:/data", "'mvtek' is not a dataset scheme; did you mean 'mvtec'"),
        ("sinthetic:", "did you mean 'synthetic'"),
        ("", "neither a dataset URI nor an existing folder; write synthetic: or mvtec:PATH or visa:PATH or pairs:PATH"),
        ("no/such/folder", "neither a dataset URI nor an existing folder"),
        ("synthetic:?sede=3", "'sede' is not an option; did you mean 'seed'"),
        ("synthetic:?seed", "option 'seed' of .* has no value; write seed=VALUE"),
        ("synthetic:?seed=1&seed=2", "is given twice"),
        ("synthetic:folder", r"takes options and no path; write synthetic:\?folder or mvtec:folder"),
    ],
)
def test_uris_that_cannot_be_opened(uri, message):
    with pytest.raises(DataError, match=message):
        open_dataset(uri)


def test_a_bare_folder_is_told_its_scheme(mvtec_root, tmp_path):
    (tmp_path / "one" / "train" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match="say which layout it has: mvtec:"):
        open_dataset(str(tmp_path / "one"))
    with pytest.raises(DataError, match=f"is a folder; say which layout it has: mvtec:{mvtec_root}"):
        open_dataset(str(mvtec_root))
    (tmp_path / "visa" / "split_csv").mkdir(parents=True)
    with pytest.raises(DataError, match="which layout it has: visa:"):
        open_dataset(str(tmp_path / "visa"))


def test_unknown_options_of_folders(mvtec_root):
    with pytest.raises(DataError, match="did you mean 'categories'"):
        open_dataset(f"mvtec:{mvtec_root}?category=bottle")
    with pytest.raises(DataError, match="the option categories is empty"):
        open_dataset(f"mvtec:{mvtec_root}?categories=")


def test_every_scheme_is_documented():
    assert all(f"``{scheme}:" in open_dataset.__doc__ for scheme in SCHEMES)
