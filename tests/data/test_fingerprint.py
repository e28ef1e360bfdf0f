"""Fingerprints follow content and nothing else; the digest cache is only a shortcut."""

import hashlib
import multiprocessing
import os
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.data import (
    FileSource,
    Sample,
    fingerprint,
    fingerprint_dataset,
    fingerprint_images,
    open_dataset,
    split_category,
)
from subband.data import digests as digest_module
from subband.data.digests import CACHE_NAME, file_digests
from subband.errors import DataError
from tests.data.conftest import settle, write_mask

contents = st.lists(st.binary(max_size=12), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(contents, contents)
def test_fingerprints_are_equal_exactly_when_contents_are(tmp_path_factory, first, second):
    """The same paths are written again at once, so the sizes and time stamps of other contents are often the same."""
    folder = tmp_path_factory.mktemp("files")

    def written(blobs: list[bytes]) -> str:
        paths = [folder / f"{index}.png" for index in range(len(blobs))]
        for path, blob in zip(paths, blobs, strict=True):
            path.write_bytes(blob)
        return fingerprint_images([FileSource(path) for path in paths])

    assert (written(first) == written(second)) == (first == second)


def test_the_place_does_not_matter_but_the_order_does(mvtec_root, tmp_path):
    shutil.copytree(mvtec_root, tmp_path / "copy")
    here = open_dataset(f"mvtec:{mvtec_root}").category("bottle").test
    there = open_dataset(f"mvtec:{tmp_path / 'copy'}").category("bottle").test
    assert fingerprint(here, include_labels=True) == fingerprint(there, include_labels=True)
    assert fingerprint(here, include_labels=True) != fingerprint(here[::-1], include_labels=True)
    assert fingerprint(here, include_labels=False) != fingerprint(here[:-1], include_labels=False)


def test_labels_and_masks_count_only_where_they_are_asked_for(mvtec_root):
    def both() -> tuple[str, str]:
        samples = open_dataset(f"mvtec:{mvtec_root}").category("bottle").test
        return fingerprint(samples, include_labels=False), fingerprint(samples, include_labels=True)

    images, labelled = both()
    write_mask(mvtec_root / "bottle" / "ground_truth" / "cut" / "000_mask.png", value=77)
    images_after_mask, labelled_after_mask = both()
    assert images_after_mask == images
    assert labelled_after_mask != labelled

    samples = list(open_dataset(f"mvtec:{mvtec_root}").category("bottle").test)
    relabelled = [Sample(s.name, s.split, 1, "cut", s.image, s.mask) for s in samples]
    assert fingerprint(relabelled, include_labels=False) == images
    assert fingerprint(relabelled, include_labels=True) != labelled_after_mask
    assert images == fingerprint_images([sample.image for sample in samples])


def test_no_label_enters_what_the_stages_see(mvtec_root):
    category = open_dataset(f"mvtec:{mvtec_root}").category("bottle")
    for selection in ("test", "holdout"):
        split, truth = split_category(category, selection, seed=0)
        assert fingerprint_images(split.query) == fingerprint(truth.samples, include_labels=False)


def test_fingerprint_of_a_dataset(mvtec_root, tmp_path):
    shutil.copytree(mvtec_root, tmp_path / "copy")
    whole = fingerprint_dataset(open_dataset(f"mvtec:{mvtec_root}"))
    assert fingerprint_dataset(open_dataset(f"mvtec:{tmp_path / 'copy'}")) == whole
    assert fingerprint_dataset(open_dataset(f"mvtec:{mvtec_root}?categories=bottle")) != whole
    write_mask(mvtec_root / "cable" / "ground_truth" / "cut" / "000_mask.png", value=77)
    assert fingerprint_dataset(open_dataset(f"mvtec:{mvtec_root}")) != whole
    assert fingerprint_dataset(open_dataset("synthetic:?seed=1")) != fingerprint_dataset(open_dataset("synthetic:"))


def test_damaged_copies_follow_their_source(mvtec_root):
    def digest() -> str:
        split, _ = split_category(open_dataset(f"mvtec:{mvtec_root}").category("bottle"), "synthetic", seed=0)
        assert fingerprint_images(split.query[2:3]) != fingerprint_images(split.query[0:1])
        assert split.query[2].digest() == split.query[2].digest_given(split.query[2].source.digest())
        return fingerprint_images(split.query)

    before = digest()
    assert digest() == before
    for picture in (mvtec_root / "bottle" / "train" / "good").iterdir():
        picture.write_bytes(picture.read_bytes() + b"x")
    assert digest() != before


def test_remembered_files_are_not_read_again(tmp_path, own_digest_cache, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    settle(path)
    expected = hashlib.sha256(b"abc").hexdigest()
    assert file_digests([path, path]) == [expected, expected]
    assert (own_digest_cache / CACHE_NAME).exists()

    def refuse(path: str) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(digest_module, "_hash", refuse)
    assert file_digests([path]) == [expected]
    assert FileSource(path).digest() == expected
    settle(path)  # another time of change: the file may be another
    with pytest.raises(AssertionError, match="was read again"):
        file_digests([path])


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    """Written twice within one tick of its time stamp, it has the same size and time, and other content."""
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    written = path.stat().st_mtime_ns
    file_digests([path])
    path.write_bytes(b"xyz")
    os.utime(path, ns=(written, written))
    assert file_digests([path]) == [hashlib.sha256(b"xyz").hexdigest()]


def test_the_folder_of_the_cache_can_be_given(tmp_path, own_digest_cache):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    settle(path)
    fingerprint_images([FileSource(path)], cache=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / CACHE_NAME).exists()
    assert not (own_digest_cache / CACHE_NAME).exists()


@pytest.mark.parametrize("damage", [b"", b"this is no database at all " * 100, None])
def test_a_damaged_cache_is_built_anew(tmp_path, own_digest_cache, damage, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    settle(path)
    expected = file_digests([path])
    cache = own_digest_cache / CACHE_NAME
    cache.write_bytes(cache.read_bytes()[:-3000] if damage is None else damage)
    assert file_digests([path]) == expected
    assert file_digests([path]) == expected
    monkeypatch.setattr(digest_module, "_hash", lambda path: pytest.fail(f"{path} is not remembered"))
    assert file_digests([path]) == expected


def test_a_wrong_entry_is_not_believed(tmp_path, own_digest_cache):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    settle(path)
    expected = file_digests([path])
    with sqlite3.connect(own_digest_cache / CACHE_NAME) as database:
        database.execute("UPDATE digests SET digest = 'f' || substr(digest, 2)")
    assert file_digests([path]) == expected


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("SUBBAND_CACHE", str(blocked / "cache"))
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    settle(path)
    assert file_digests([path]) == [hashlib.sha256(b"abc").hexdigest()]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        fingerprint_images([FileSource(tmp_path / "gone.png")])


def _digests_in_process(paths: list[Path], cache: Path) -> list[str]:
    return [digest for _ in range(5) for digest in file_digests(paths, cache)]


def test_concurrent_processes_share_one_cache(tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(40)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]) * 50)
    settle(*paths)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = [pool.submit(_digests_in_process, paths, tmp_path / "cache") for _ in range(4)]
        assert all(answer.result() == expected * 5 for answer in answers)
    with sqlite3.connect(tmp_path / "cache" / CACHE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM digests").fetchone() == (40,)
