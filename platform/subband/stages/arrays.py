"""One array of a stored entry: an Arrow IPC file whose rows are the array's first axis, read by memory mapping."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa


class ArrayWriter:
    """Writes one array as chunks of rows; nothing but the current chunk is held in memory.

    Args:
        path: the file to write.
        first: the first chunk; it fixes dtype and trailing shape, and is not written yet.

    Raises:
        TypeError: not an array of booleans, integers or real numbers with at least one axis.
    """

    def __init__(self, path: Path, first: np.ndarray) -> None:
        if first.dtype.kind not in "biuf" or first.ndim == 0:
            raise TypeError(
                f"{path.stem}: a stored array holds rows of booleans, integers or floats, not {first.dtype} {first.shape}"
            )
        self.rows = 0
        self.tail = first.shape[1:]
        self.dtype = first.dtype.newbyteorder("=")
        # Arrow packs eight booleans into a byte, which numpy cannot map; and it has no lists of length 0.
        self._element = np.dtype(np.uint8) if self.dtype.kind == "b" else self.dtype
        self._type = pa.fixed_shape_tensor(
            pa.from_numpy_dtype(self._element), self.tail if np.prod(self.tail, dtype=np.int64) else ()
        )
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, pa.schema([("rows", self._type)]))

    def append(self, chunk: np.ndarray) -> None:
        """Append rows of the same dtype and trailing shape."""
        if chunk.shape[1:] != self.tail or chunk.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(f"chunk {chunk.dtype}{chunk.shape[1:]} differs from {self.dtype}{self.tail}")
        if chunk.size:
            flat = pa.array(np.ascontiguousarray(chunk, dtype=self.dtype).reshape(-1).view(self._element))
            width = int(np.prod(self.tail, dtype=np.int64))
            column = pa.ExtensionArray.from_storage(self._type, pa.FixedSizeListArray.from_arrays(flat, width))
            self._writer.write_batch(pa.record_batch([column], names=["rows"]))
        self.rows += len(chunk)

    def close(self) -> None:
        """Finish the file: without this its footer is missing and it cannot be read."""
        self._writer.close()
        self._sink.close()

    def abandon(self) -> None:
        """Let go of the file, finished or not."""
        with contextlib.suppress(OSError):
            self._sink.close()


class StoredArray:
    """An array that lies in the store, mapped and never loaded as a whole unless asked for.

    Attributes:
        shape: full shape.
        dtype: numpy dtype.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self.dtype = dtype
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))

    def __len__(self) -> int:
        return self.shape[0]

    def batches(self) -> Iterator[np.ndarray]:
        """Read-only views of the chunks as they were written, in order, without a copy; one empty chunk if there is nothing."""
        if self._reader.num_record_batches == 0:
            empty = np.zeros(self.shape, self.dtype)
            empty.flags.writeable = False
            yield empty
        for index in range(self._reader.num_record_batches):
            column = self._reader.get_batch(index).column(0)
            flat = column.storage.flatten().to_numpy(zero_copy_only=True)
            yield flat.view(self.dtype).reshape(-1, *self.shape[1:])

    def numpy(self) -> np.ndarray:
        """The whole array: a read-only view of the file if it was written in one chunk, else a copy."""
        chunks = list(self.batches())
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
