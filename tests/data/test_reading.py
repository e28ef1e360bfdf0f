"""Which way up images are, and how deep samples are scaled."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from subband.data import FileSource, MaskFileSource, fingerprint_images
from subband.data.images import highest_sample, to_picture
from subband.data.reading import ReadingRule, eight_bits, reading_rule
from subband.data.segmentation.masks import RuledMask
from subband.errors import DataError, ParamsError

SEEN = np.random.default_rng(1).integers(0, 256, (5, 7, 3)).astype(np.uint8)
STORED = {  # what a camera stores where SEEN is what viewers show, by the EXIF standard
    1: SEEN,
    2: SEEN[:, ::-1],
    3: SEEN[::-1, ::-1],
    4: SEEN[::-1],
    5: SEEN.transpose(1, 0, 2),
    6: np.rot90(SEEN),
    7: np.rot90(SEEN, 2).transpose(1, 0, 2),
    8: np.rot90(SEEN, -1),
}


def tagged(path: Path, tag: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}}.get(path.suffix, {})
    Image.fromarray(np.ascontiguousarray(STORED[tag])).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize(("tag", "suffix"), itertools.product(STORED, ["png", "tif", "webp"]))
def test_a_tag_turns_the_image_as_viewers_show_it(tag, suffix, tmp_path):
    path = tagged(tmp_path / f"x.{suffix}", tag)
    plain, ignoring = FileSource(path), FileSource(path, ReadingRule(orientation="ignore"))
    np.testing.assert_array_equal(np.asarray(plain.open()), SEEN)
    np.testing.assert_array_equal(np.asarray(ignoring.open()), STORED[tag])
    for source in (plain, ignoring):
        assert source.size() == source.open().size
    # What was computed of the stored pixels is not found for the turned ones, nor the other way round.
    assert (plain.digest() == ignoring.digest()) == (tag == 1)


def test_a_jpeg_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "x.jpg", exif=exif)
    assert FileSource(tmp_path / "x.jpg").open().size == FileSource(tmp_path / "x.jpg").size() == (20, 40)


@pytest.mark.parametrize("make", [MaskFileSource, RuledMask])
def test_the_tag_of_a_mask_file_turns_the_mask(make, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = np.zeros((4, 8), np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(tmp_path / "x.png", exif=exif)
    plain, ignoring = make(tmp_path / "x.png"), make(tmp_path / "x.png", orientation="ignore")
    np.testing.assert_array_equal(np.asarray(plain.open()), np.rot90(mask, -1))
    np.testing.assert_array_equal(np.asarray(ignoring.open()), mask)
    assert (plain.size(), ignoring.size()) == ((4, 8), (8, 4))
    assert plain.digest() != ignoring.digest()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_tag_behind_the_pixels_of_a_png_is_heeded(tmp_path):
    Image.fromarray(STORED[6].copy()).save(tmp_path / "x.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = (tmp_path / "x.png").read_bytes()
    end = data.index(b"IEND") - 4
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "late.png").write_bytes(data[:end] + late + data[end:])
    source = FileSource(tmp_path / "late.png")
    np.testing.assert_array_equal(np.asarray(source.open()), SEEN)
    assert source.size() == (7, 5)


def test_digests_of_plain_files_are_those_of_their_bytes_under_every_rule(tmp_path):
    Image.fromarray(SEEN).save(tmp_path / "x.png")
    Image.fromarray(SEEN[..., 0].astype(np.uint16)).save(tmp_path / "deep.png")
    rules = [ReadingRule(), ReadingRule(12), ReadingRule(16, "ignore")]
    assert len({fingerprint_images([FileSource(tmp_path / "x.png", rule)]) for rule in rules}) == 1
    assert len({FileSource(tmp_path / "deep.png", rule).digest() for rule in rules}) == 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_colours_are_read_whole_where_the_rule_says_fewer_bits(order, compression, tmp_path):
    samples = np.random.default_rng(2).integers(0, 1024, (6, 9, 3)).astype(np.uint16)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, samples, photometric="rgb", byteorder=order, compression=compression)
    assert highest_sample(path) == samples.max()
    np.testing.assert_array_equal(
        np.asarray(FileSource(path, ReadingRule(10)).open()), np.rint(samples * (255 / 1023)).astype(np.uint8)
    )
    np.testing.assert_array_equal(np.asarray(FileSource(path).open()), samples >> 8)


def test_samples_above_the_rule_are_refused_by_name(tmp_path):
    Image.fromarray(np.full((4, 4), 4100, np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: its samples .*4100, outside 0\.\.4095.*read as 12 bits"):
        FileSource(tmp_path / "x.png", ReadingRule(12)).open()


@given(st.integers(8, 16), st.data())
def test_scaling_keeps_order_and_both_ends(bits, data):
    top = 2**bits - 1
    samples = np.sort(data.draw(st.lists(st.integers(0, top), min_size=1)))
    levels = eight_bits(np.array([0, *samples, top]), "I", bits)
    assert (levels[0], levels[-1]) == (0, 255)
    assert (np.diff(levels.astype(int)) >= 0).all()


@pytest.mark.parametrize("values", [{"bits": 7}, {"bits": 17}, {"orientation": "up"}, {"depth": 12}])
def test_illegal_rules_are_refused(values):
    with pytest.raises(ParamsError):
        reading_rule(values)


def test_a_converted_image_is_not_turned_again(tmp_path):
    path = tagged(tmp_path / "x.png", 6)
    once = to_picture(Image.open(path))
    np.testing.assert_array_equal(np.asarray(to_picture(once)), np.asarray(once))
