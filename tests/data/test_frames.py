"""Files of several images, and images that are longer than any."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import FileSource, Preprocess, decode_frames, decode_image, open_dataset
from subband.data.checks import check_files
from subband.data.images import to_picture
from subband.errors import DataError
from tests.data.conftest import write_picture

FORMATS = {"GIF": ".gif", "TIFF": ".tif", "PNG": ".png", "WEBP": ".webp"}


def frames(count, form, **options):
    images = [Image.new("RGB", (24, 16), (40 * number + 9, 80, 200 - 50 * number)) for number in range(count)]
    stream = io.BytesIO()
    images[0].save(stream, form, save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_several_frames_is_refused_wherever_one_image_is_expected(form, tmp_path):
    content = frames(3, form)
    file = tmp_path / f"moving{FORMATS[form]}"
    file.write_bytes(content)
    for read in (
        lambda: decode_image(content, "request body"),
        lambda: FileSource(file).open(),
        lambda: to_picture(Image.open(io.BytesIO(content))),
    ):
        with pytest.raises(DataError, match="it has 3 frames"):
            read()
    assert len(decode_frames(content, "request body")) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_one_frame_is_read(form):
    assert decode_image(frames(1, form), "x").size == (24, 16)


def test_a_preview_or_a_smaller_copy_is_no_frame():
    images = [Image.new("RGB", (24, 16), (9, 9, 9)), Image.new("RGB", (12, 8), (99, 9, 9))]
    stream = io.BytesIO()
    images[0].save(stream, "MPO", save_all=True, append_images=images[1:])
    assert decode_image(stream.getvalue(), "phone").size == (24, 16)
    stream = io.BytesIO()
    with_tag = images[1].copy()
    with_tag.encoderinfo = {"tiffinfo": {254: 1}}
    images[0].save(stream, "TIFF", save_all=True, append_images=[with_tag])
    assert decode_image(stream.getvalue(), "pyramid").size == (24, 16)


def test_a_data_set_with_such_a_file_is_refused_before_the_start(tmp_path):
    for index in range(6):
        write_picture(tmp_path / "ok" / f"{index}.png", seed=index)
    (tmp_path / "ok" / "moving.webp").write_bytes(frames(2, "WEBP"))
    with pytest.raises(DataError, match=r"moving\.webp.*2 frames"):
        check_files(open_dataset(f"folder:{tmp_path}"))


@pytest.mark.parametrize("size", [(1, 400_000), (400_000, 1), (3, 90_000)])
def test_a_long_image_takes_little_memory(size):
    image = Image.new("RGB", size, (90, 120, 30))
    tracemalloc.start()
    framed = Preprocess(framing="crop", resize=256, image_size=224).image(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert framed.shape == (224, 224, 3)
    assert (framed == (90, 120, 30)).all()
    assert peak < 50e6


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 80),
    height=st.integers(1, 80),
    seed=st.integers(0, 99),
    resampling=st.sampled_from(["lanczos", "bilinear"]),
)
def test_usual_images_are_resized_whole_and_cropped(width, height, seed, resampling):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image, shorter = Image.fromarray(pixels), min(width, height)
    whole = image.resize((40 * width // shorter, 40 * height // shorter), Image.Resampling[resampling.upper()])
    left, top = round((whole.width - 32) / 2), round((whole.height - 32) / 2)
    expected = np.asarray(whole.crop((left, top, left + 32, top + 32)))
    framed = Preprocess(framing="crop", resize=40, image_size=32, resampling=resampling).image(image)
    np.testing.assert_array_equal(framed, expected)


@pytest.mark.parametrize("size", [(340, 20), (20, 370), (600, 30)])
def test_a_long_image_looks_as_if_it_had_been_resized_whole(size, monkeypatch):
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.dstack([120 + 90 * np.sin(rows / 5), 120 + 90 * np.cos(columns / 7), 90 + rows % 40]).astype(np.uint8)
    image, preprocess = Image.fromarray(pixels), Preprocess(framing="crop", resize=40, image_size=32)
    whole = preprocess.image(image).astype(int)
    monkeypatch.setattr("subband.data.preprocess._RESIZED_WHOLE", 0)
    assert np.abs(preprocess.image(image).astype(int) - whole).max() <= 2
