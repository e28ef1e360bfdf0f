"""Memory banks as files: the published ``.pt`` files read, our own safetensors files read and written.

A published file holds vectors and little else. What decided their space (encoder weights, wavelet) is not in it and cannot be
recovered (specification B1), so its facts say ``unknown``; distances of an image to such a bank carry the difference between
two random encoders. Our files hold those facts beside the vectors.

Shapes: M bank rows of D channels, in the order of selection.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from subband.errors import ModelError
from subband.files import write_atomically

Unknown = Literal["unknown"]
WIDTHS: Mapping[int, str] = {
    1536: "WEDGE-Net without the semantic block, or the PatchCore baseline",
    2048: "WEDGE-Net with the semantic block",
}
RATIOS: Mapping[str, float] = {"100pct": 1.0, "10pct": 0.1, "0_1pct": 0.001, "1pct": 0.01}  # 0_1pct also ends in 1pct
_NEEDED = (
    "a bank is a dict with memory_bank (M x 1536 or M x 2048, float), feature_mean and feature_std as WEDGE-Net writes it, or "
    "memory_bank alone or a bare tensor (M x 1536) as its PatchCore baseline does"
)
_FACTS = "subband.bank"
_ROWS_A_CHECK = 16384


class BankFacts(BaseModel):
    """How the vectors of a bank were made: an image must be embedded the same way to be compared with them.

    Attributes:
        method: whose features they are.
        mode: which form of the method.
        backbone: name of the frozen network.
        weights: of the backbone, as the params name them.
        semantic: whether the semantic block is in them; None for PatchCore.
        wavelet: of the guidance; None without gates.
        encoder_seed: of the frequency encoder; None without gates.
        scope: whose extremes scaled guidance and mask; None for PatchCore.
        border: what the local mean was divided by; None where there was none.
        ratio: share of the training vectors that was kept; None where a file does not say.
        category: of the training images; None where a file does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["wedgenet", "patchcore"]
    mode: Literal["reference", "corrected"]
    backbone: str
    weights: str
    semantic: bool | None
    wavelet: str | None
    encoder_seed: int | Unknown | None
    scope: Literal["image", "batch"] | None
    border: Literal["zero", "inside"] | None
    ratio: float | None = Field(None, gt=0, le=1)
    category: str | None = None


@dataclass(frozen=True)
class Bank:
    """A bank with what is known about it.

    Attributes:
        vectors_MD: (M, D) float32.
        facts: how they were made.
        mean_D: mean of all training vectors, or None; saved by the published code and used by nothing.
        std_D: their unbiased standard deviation, or None; likewise.
    """

    vectors_MD: Tensor
    facts: BankFacts
    mean_D: Tensor | None = None
    std_D: Tensor | None = None


def read_bank(path: Path | str) -> Bank:
    """A bank from ``.pt`` or ``.pth`` (published) or ``.safetensors`` (ours).

    Raises:
        ModelError: the file is missing, damaged or no bank; the message says what it holds and what is needed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path} is no file; give a published bank (.pt) or a bank of this platform (.safetensors)")
    return _read_own(path) if path.suffix == ".safetensors" else read_published_bank(path)


def read_published_bank(path: Path | str) -> Bank:
    """A bank that the published WEDGE-Net code wrote, or that its robustness scripts read as PatchCore's.

    Only tensors are read (``weights_only``): no code in the file is run.

    Returns:
        The vectors in float32, with facts inferred from width, keys and file name. Width 2048 is semantic on. Width 1536 is
        semantic off if the file has the training statistics, which WEDGE-Net writes and PatchCore does not.

    Raises:
        ModelError: the file cannot be read, or is no bank; the message says what it holds and what is needed.
    """
    path = Path(path)
    stored = _load(path)
    fields = stored if isinstance(stored, dict) else {"memory_bank": stored}
    if "memory_bank" not in fields:
        raise ModelError(f"{path} is not a bank: it holds {_described(stored)}; {_NEEDED}")
    vectors = _vectors(fields["memory_bank"], path, copy=True)
    statistics = [_statistic(fields, name, vectors.shape[1], path) for name in ("feature_mean", "feature_std")]
    if vectors.shape[1] not in WIDTHS:
        widths = "; ".join(f"{width} is {meaning}" for width, meaning in WIDTHS.items())
        raise ModelError(
            f"{path} has vectors of {vectors.shape[1]} channels, which no published network gives: {widths}"
        )
    patchcore = vectors.shape[1] == 1536 and statistics == [None, None]
    category, ratio = _named(path.stem)
    facts = BankFacts(
        method="patchcore" if patchcore else "wedgenet",
        mode="reference",
        backbone="wide_resnet50_2" if patchcore else "resnet50",
        weights="pretrained",
        semantic=None if patchcore else vectors.shape[1] == 2048,
        wavelet=None if patchcore else "unknown",
        encoder_seed=None if patchcore else "unknown",
        scope=None if patchcore else "batch",
        border="zero",
        ratio=ratio,
        category=category,
    )
    return Bank(vectors, facts, *statistics)


def _load(path: Path) -> Any:
    try:
        # Mapped, not read: the one copy in memory is the float32 one that is returned.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is not a bank: it holds Python objects other than tensors, which are not loaded because that could run "
            f"code, or is no file of torch.save at all; {_NEEDED}"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read as a file of torch.save ({type(error).__name__}: {error})") from error


def _described(stored: object) -> str:
    if isinstance(stored, Tensor):
        return f"a tensor {tuple(stored.shape)} of {str(stored.dtype).removeprefix('torch.')}"
    if isinstance(stored, dict):
        keys = [str(key) for key in stored]
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        return f"a dict with {', '.join(keys[:5])}{more}" if keys else "an empty dict"
    return f"a {type(stored).__name__}"


def _vectors(found: object, path: Path, copy: bool = False) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 2 or not found.is_floating_point() or not found.numel():
        raise ModelError(f"{path} is not a bank: its memory_bank is {_described(found)}; {_NEEDED}")
    vectors = found.to(torch.float32, copy=copy).contiguous()
    for start in range(0, len(vectors), _ROWS_A_CHECK):
        broken = ~torch.isfinite(vectors[start : start + _ROWS_A_CHECK]).all(dim=1)
        if broken.any():
            row = start + int(broken.nonzero()[0])
            raise ModelError(
                f"{path} has NaN or infinite values in memory_bank, first in row {row}; make the bank anew"
            )
    return vectors


def _statistic(fields: Mapping[str, object], name: str, width: int, path: Path) -> Tensor | None:
    if name not in fields:
        return None
    found = fields[name]
    if not isinstance(found, Tensor) or found.numel() != width or not found.is_floating_point():
        raise ModelError(
            f"{path} is not a bank: its {name} is {_described(found)}, but memory_bank has {width} channels"
        )
    return found.to(torch.float32, copy=True).reshape(width)


def _named(stem: str) -> tuple[str | None, float | None]:
    """Category and ratio of ``model_data_CATEGORY_SUFFIX``; other suffixes of the published code are ambiguous (B10)."""
    for suffix, ratio in RATIOS.items():
        if match := re.fullmatch(rf"model_data_(.+)_{suffix}", stem):
            return match[1], ratio
    return None, None


def write_bank(path: Path | str, bank: Bank) -> Path:
    """Write a bank as safetensors with its facts, whole or not at all.

    Raises:
        ModelError: the name does not end in .safetensors, the file exists already, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: a bank is written as safetensors; give a name that ends in .safetensors")
    if path.exists():
        raise ModelError(f"{path} exists already; write a bank under a new name")
    named = {"memory_bank": bank.vectors_MD, "feature_mean": bank.mean_D, "feature_std": bank.std_D}
    tensors = {name: tensor.float().contiguous().cpu() for name, tensor in named.items() if tensor is not None}
    try:
        write_atomically(path, save(tensors, metadata={_FACTS: bank.facts.model_dump_json()}))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the bank could not be written to {path}: {error}") from error
    return path


def _read_own(path: Path) -> Bank:
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    if _FACTS not in metadata or "memory_bank" not in tensors:
        raise ModelError(
            f"{path} is not a bank: it holds {_described(tensors)} and no facts about a bank; give a file of write_bank()"
        )
    try:
        facts = BankFacts.model_validate_json(metadata[_FACTS])
    except ValidationError as error:
        raise ModelError(f"{path} has facts that this version does not understand: {error}") from error
    vectors = _vectors(tensors["memory_bank"], path)
    statistics = [_statistic(tensors, name, vectors.shape[1], path) for name in ("feature_mean", "feature_std")]
    return Bank(vectors, facts, *statistics)
