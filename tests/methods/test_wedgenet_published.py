"""Bank files: published ones are read and judged, ours go out and come back with their facts."""

import contextlib
import resource

import pytest
import torch
from safetensors.torch import save_file

from subband.errors import ModelError
from subband.methods.wedgenet.checkpoint import Bank, BankFacts, read_bank, read_published_bank, write_bank

FACTS = BankFacts(
    method="wedgenet",
    mode="corrected",
    backbone="resnet18",
    weights="random:0",
    semantic=True,
    wavelet="bior2.2",
    encoder_seed=3,
    scope="image",
    border="inside",
    ratio=0.29,
    category="tile",
)


def vectors(rows, width, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def wedge_file(folder, width, name="model_data_metal_nut_0_1pct.pt", **changes):
    stored = {"memory_bank": vectors(9, width), "feature_mean": torch.zeros(width), "feature_std": torch.ones(width)}
    torch.save({key: value for key, value in (stored | changes).items() if value is not None}, folder / name)
    return folder / name


@pytest.mark.parametrize(("width", "semantic"), [(2048, True), (1536, False)])
def test_a_published_bank_says_what_can_be_known_of_it(tmp_path, width, semantic):
    bank = read_published_bank(wedge_file(tmp_path, width))
    assert torch.equal(bank.vectors_MD, vectors(9, width))
    assert torch.equal(bank.std_D, torch.ones(width))
    facts = bank.facts
    assert (facts.method, facts.mode, facts.semantic, facts.scope) == ("wedgenet", "reference", semantic, "batch")
    assert (facts.wavelet, facts.encoder_seed) == ("unknown", "unknown")
    assert (facts.category, facts.ratio) == ("metal_nut", 0.001)


@pytest.mark.parametrize(
    ("name", "category", "ratio"),
    [
        ("model_data_tile_1pct.pt", "tile", 0.01),
        ("model_data_tile_10pct.pt", "tile", 0.1),
        ("model_data_tile_100pct.pt", "tile", 1.0),
        ("model_data_tile_29pct.pt", None, None),
        ("tile.pt", None, None),
    ],
)
def test_the_file_name_gives_category_and_ratio_where_it_is_clear(tmp_path, name, category, ratio):
    facts = read_published_bank(wedge_file(tmp_path, 1536, name)).facts
    assert (facts.category, facts.ratio) == (category, ratio)


@pytest.mark.parametrize("form", ["tensor", "dict", "half precision"])
def test_a_patchcore_bank_is_a_bare_tensor_or_a_dict_without_statistics(tmp_path, form):
    kept = vectors(5, 1536)
    kept = kept.half() if form == "half precision" else kept
    torch.save({"memory_bank": kept} if form == "dict" else kept, tmp_path / "bank.pt")
    bank = read_bank(tmp_path / "bank.pt")
    assert bank.vectors_MD.dtype == torch.float32
    assert torch.equal(bank.vectors_MD, kept.float())
    assert (bank.facts.method, bank.facts.backbone, bank.facts.semantic) == ("patchcore", "wide_resnet50_2", None)


def test_files_of_older_torch_are_read(tmp_path):
    torch.save(vectors(5, 1536), tmp_path / "bank.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_bank(tmp_path / "bank.pt").vectors_MD, vectors(5, 1536))


def test_what_was_read_does_not_hang_on_the_file(tmp_path):
    path = wedge_file(tmp_path, 2048)
    bank = read_bank(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(bank.vectors_MD, vectors(9, 2048))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            {"conv1.weight": torch.ones(2), "bn1.bias": torch.ones(2)},
            "it holds a dict with conv1.weight, bn1.bias; a bank is a dict",
        ),
        ({str(name): 1 for name in range(9)}, "a dict with 0, 1, 2, 3, 4 and 4 more; a bank is"),
        ({}, "it holds an empty dict; a bank is"),
        ([1, 2], "its memory_bank is a list; a bank is"),
        ({"memory_bank": [1, 2]}, "its memory_bank is a list; a bank is"),
        (torch.ones(1536), r"its memory_bank is a tensor \(1536,\) of float32; a bank is"),
        (torch.ones(2, 28, 28), r"its memory_bank is a tensor \(2, 28, 28\) of float32; a bank is"),
        (torch.ones(3, 1536, dtype=torch.int64), r"a tensor \(3, 1536\) of int64; a bank is"),
        (torch.ones(0, 1536), r"a tensor \(0, 1536\) of float32; a bank is"),
        (torch.ones(3, 1024), "vectors of 1024 channels, which no published network gives: 1536 is"),
    ],
)
def test_a_file_that_is_no_bank_is_told_what_it_holds(tmp_path, stored, message):
    torch.save(stored, tmp_path / "file.pt")
    with pytest.raises(ModelError, match=message):
        read_bank(tmp_path / "file.pt")


def test_statistics_of_another_width_are_refused(tmp_path):
    path = wedge_file(tmp_path, 2048, feature_std=torch.ones(1536))
    with pytest.raises(ModelError, match=r"its feature_std is a tensor \(1536,\) of float32, but memory_bank has 2048"):
        read_bank(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused_with_their_row(tmp_path, value):
    broken = vectors(20000, 2048 // 2).repeat(1, 2)
    broken[17001, 5] = value
    with pytest.raises(ModelError, match="NaN or infinite values in memory_bank, first in row 17001"):
        read_bank(wedge_file(tmp_path, 2048, memory_bank=broken))


class Code:
    def __reduce__(self):
        return (print, ("run",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"memory_bank": Code()}, tmp_path / "bank.pt")
    with pytest.raises(ModelError, match="Python objects other than tensors, which are not loaded"):
        read_bank(tmp_path / "bank.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"hello, world"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "bank.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"bank\.pt"):
        read_bank(tmp_path / "bank.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.pt is no file"):
        read_bank(tmp_path / "nothing.pt")


def test_our_banks_come_back_with_their_facts(tmp_path):
    bank = Bank(vectors(7, 384), FACTS)
    again = read_bank(write_bank(tmp_path / "banks" / "tile.safetensors", bank))
    assert torch.equal(again.vectors_MD, bank.vectors_MD)
    assert again.facts == FACTS
    assert again.mean_D is None


def test_a_published_bank_becomes_safetensors_that_still_says_unknown(tmp_path):
    published = read_bank(wedge_file(tmp_path, 2048))
    again = read_bank(write_bank(tmp_path / "bank.safetensors", published))
    assert again.facts == published.facts
    assert again.facts.encoder_seed == "unknown"
    assert torch.equal(again.std_D, published.std_D)


@contextlib.contextmanager
def small_files():
    """The system refuses to let a file grow beyond 4 KiB, as a full disk would; that holds for pytest's own log too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_left_of_a_bank_that_could_not_be_written(tmp_path):
    with (
        pytest.raises(ModelError, match=r"could not be written to .*bank\.safetensors: .*File too large"),
        small_files(),
    ):
        write_bank(tmp_path / "bank.safetensors", Bank(vectors(20, 2048), FACTS))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_and_another_suffix_are_refused(tmp_path):
    bank = Bank(vectors(2, 4), FACTS)
    write_bank(tmp_path / "bank.safetensors", bank)
    with pytest.raises(ModelError, match="exists already"):
        write_bank(tmp_path / "bank.safetensors", bank)
    with pytest.raises(ModelError, match=r"ends in \.safetensors"):
        write_bank(tmp_path / "bank.pt", bank)


def test_safetensors_without_facts_are_no_bank(tmp_path):
    save_file({"memory_bank": vectors(2, 4)}, tmp_path / "bank.safetensors")
    with pytest.raises(ModelError, match="holds a dict with memory_bank and no facts about a bank"):
        read_bank(tmp_path / "bank.safetensors")


def test_facts_of_another_version_are_refused(tmp_path):
    save_file(
        {"memory_bank": vectors(2, 4)}, tmp_path / "bank.safetensors", metadata={"subband.bank": '{"method": "?"}'}
    )
    with pytest.raises(ModelError, match="facts that this version does not understand"):
        read_bank(tmp_path / "bank.safetensors")
