"""Decoding: every pixel format, and everything that can be wrong with a file."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from subband.data import FileSource, MaskFileSource, decode_frames, decode_image
from subband.errors import DataError


def encoded(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def decoded(data: bytes) -> np.ndarray:
    picture = decode_image(data, "upload")
    assert picture.mode == "RGB"
    return np.asarray(picture)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its few bytes could never hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(form):
    deep = np.array([[0, 128, 257, 32768], [40000, 65278, 65535, 60000]], np.uint16)
    expected = np.rint(deep / 257).astype(np.uint8)
    grey = decoded(encoded(Image.fromarray(deep), form))
    for channel in range(3):
        np.testing.assert_array_equal(grey[..., channel], expected)


def test_float_grey_in_unit_range_is_scaled():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert decoded(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("values", [np.array([[0, 70000]], np.int32), np.array([[0.0, 3.5]], np.float32)])
def test_samples_of_unknown_scale_are_refused(values):
    with pytest.raises(DataError, match=r"upload: its samples .* save it as 8-bit or 16-bit grey"):
        decode_image(encoded(Image.fromarray(values), "TIFF"), "upload")


def test_8_bit_grey_and_1_bit():
    grey = np.array([[0, 90, 255]], np.uint8)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(grey)))[..., 1], grey)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(grey > 0)))[..., 2], (grey > 0) * 255)


def test_palette_with_transparency_keeps_its_colours(recwarn):
    picture = Image.new("P", (3, 1))
    picture.putpalette([200, 10, 20, 1, 2, 3, 90, 80, 70])
    picture.putdata([0, 1, 2])
    data = encoded(picture, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(decoded(data)[0], [[200, 10, 20], [1, 2, 3], [90, 80, 70]])
    assert not recwarn.list


def test_alpha_is_dropped_and_colours_are_kept():
    rgba = np.array([[[10, 20, 30, 0], [40, 50, 60, 128]]], np.uint8)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(rgba))), rgba[..., :3])
    grey_alpha = np.array([[[77, 0], [5, 255]]], np.uint8)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(grey_alpha, "LA")))[0, :, 0], [77, 5])


def test_cmyk_becomes_rgb():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = decoded(encoded(cyan, "TIFF"))[0, 0]
    assert red < 20
    assert min(green, blue) > 235


def test_only_the_listed_formats_are_tried():
    with pytest.raises(DataError, match="not an image"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "upload")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "upload is empty"),
        (b"hello, I am a text file", "upload is not an image"),
        (encoded(Image.effect_noise((64, 64), 50))[:900], "upload is damaged or truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:700], "upload is damaged or truncated"),
    ],
)
def test_broken_bytes_name_what_is_broken(data, message):
    with pytest.raises(DataError, match=message):
        decode_image(data, "upload")


def test_every_truncation_of_a_png_is_an_error_or_the_whole_picture():
    picture = Image.effect_noise((20, 20), 50)
    data = encoded(picture)
    for length in range(0, len(data), 7):
        try:
            survived = decode_image(data[:length], "upload")
        except DataError:
            continue
        np.testing.assert_array_equal(np.asarray(survived)[..., 0], np.asarray(picture))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [11_000, 60_000])  # below and above Pillow's own hard limit
def test_decompression_bomb_is_refused_by_its_header(side):
    with pytest.raises(DataError, match=r"more than the limit of 100,000,000 pixels.*SUBBAND_MAX_PIXELS"):
        decode_image(huge_png(side, side), "upload")


def test_pixel_limit_by_argument_and_variable(monkeypatch):
    data = encoded(Image.new("RGB", (10, 10)))
    assert decode_image(data, "upload", max_pixels=100).size == (10, 10)
    with pytest.raises(DataError, match=r"10 x 10 pixels, more than the limit of 99 "):
        decode_image(data, "upload", max_pixels=99)
    monkeypatch.setenv("SUBBAND_MAX_PIXELS", "99")
    with pytest.raises(DataError, match="limit of 99"):
        decode_image(data, "upload")
    monkeypatch.setenv("SUBBAND_MAX_PIXELS", "lots")
    with pytest.raises(DataError, match="'lots'; it must be a positive whole number"):
        decode_image(data, "upload")


def test_a_raised_limit_passes_pillow_too(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice this
    assert decode_image(encoded(Image.new("L", (100, 10))), "upload", max_pixels=1000).size == (100, 10)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png does not exist"):
        FileSource(tmp_path / "nowhere.png").open()
    with pytest.raises(DataError, match="is a folder"):
        FileSource(tmp_path).open()
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.png is not an image"):
        FileSource(text).size()


def test_masks_keep_every_non_zero_pixel(tmp_path):
    def mask_of(picture: Image.Image) -> list[bool]:
        path = tmp_path / "mask.png"
        picture.save(path)
        mask = MaskFileSource(path).open()
        assert mask.mode == "L"
        return (np.asarray(mask)[0] > 0).tolist()

    assert mask_of(Image.fromarray(np.array([[0, 1, 255]], np.uint8))) == [False, True, True]
    assert mask_of(Image.fromarray(np.array([[0, 1, 65535]], np.uint16))) == [False, True, True]
    assert mask_of(Image.fromarray(np.array([[False, True]]))) == [False, True]
    # Luminance would round this blue to 0.
    assert mask_of(Image.fromarray(np.array([[[0, 0, 0], [0, 0, 1]]], np.uint8))) == [False, True]
    # An opaque black background is no defect.
    assert mask_of(Image.fromarray(np.array([[[0, 255], [9, 255]]], np.uint8), "LA")) == [False, True]


def animation(form, count=3):
    frames = [Image.new("RGB", (8, 6), (80 * step, 0, 0)) for step in range(count)]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:])
    return file.getvalue(), frames


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_every_frame_of_a_sequence_is_decoded_in_order(form):
    data, frames = animation(form)
    found = decode_frames(data, "clip")
    assert [frame.getpixel((0, 0)) for frame in found] == [frame.getpixel((0, 0)) for frame in frames]
    assert {(frame.mode, frame.size) for frame in found} == {("RGB", (8, 6))}


def test_a_sequence_is_limited_as_a_whole():
    data, _ = animation("TIFF")
    assert len(decode_frames(data, "clip", max_pixels=144)) == 3
    with pytest.raises(
        DataError, match="clip: the sequence of 3 frames of 8 x 6 pixels has more than the limit of 143"
    ):
        decode_frames(data, "clip", max_pixels=143)


def test_a_picture_is_a_sequence_of_one_frame():
    file = io.BytesIO()
    Image.new("L", (4, 4), 7).save(file, "PNG")
    assert [frame.getpixel((0, 0)) for frame in decode_frames(file.getvalue(), "image")] == [(7, 7, 7)]
