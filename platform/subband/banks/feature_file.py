"""Feature files: one float32 matrix as .npy or .safetensors, mapped and not read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from subband.banks.rows import Rows
from subband.errors import DataError, unknown_name


def open_features(path: Path, tensor: str | None = None) -> Rows:
    """The vectors in a file, mapped: nothing is read before it is needed.

    Args:
        path: a .npy file, or a .safetensors file; float32 (..., D), whose leading axes are flattened to N rows.
        tensor: name of the tensor in a .safetensors file that holds several.

    Raises:
        DataError: no such file, another format, another type of number, or no rows.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file; give a .npy or .safetensors file of float32 features")
    if path.suffix == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path} is not a .npy file that can be mapped: {error}") from error
    elif path.suffix == ".safetensors":
        array = _mapped_tensor(path, tensor)
    else:
        raise DataError(f"{path} must end in .npy or .safetensors")
    if array.dtype != np.float32 or array.ndim < 2 or not array.size:
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape}; features are float32 (..., D) with at least one row"
        )
    return Rows.of(array)


def _mapped_tensor(path: Path, tensor: str | None) -> np.ndarray:
    """The format: 8 bytes little-endian length of a JSON header, the header, then the tensors' bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 0 < length <= path.stat().st_size - 8 else b""
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        entries = {
            name: (entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in header.items()
        }
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a safetensors file: its header cannot be read") from error
    if tensor is None:
        if len(entries) != 1:
            raise DataError(f"{path} holds {len(entries)} tensors ({', '.join(entries)}); name one")
        tensor = next(iter(entries))
    if tensor not in entries:
        raise DataError(f"{path}: {unknown_name('tensor', tensor, entries)}")
    dtype, shape, start, stop = entries[tensor]
    if dtype != "F32":
        raise DataError(f"{path}: tensor {tensor!r} is {dtype}; features are float32 (F32)")
    if stop - start != 4 * int(np.prod(shape)) or 8 + length + stop > path.stat().st_size:
        raise DataError(f"{path} is cut short: tensor {tensor!r} of shape {shape} does not fit")
    return np.memmap(path, np.float32, "r", 8 + length + start, shape) if stop > start else np.empty(shape, np.float32)
