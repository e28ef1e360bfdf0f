"""``moving-mnist:PATH`` and ``moving-digits:``: sequences of moving digits, for video prediction.

    moving-mnist:/data/MNIST?train=10000&validation=1000&test=10000&seed=0&digits=2&length=20&size=64
    moving-digits:?train=1024&validation=128&test=256&seed=0&digits=2&length=20&size=64

The folder holds MNIST's idx files, gzipped or not, or is torchvision's folder around them; if the published test file
``mnist_test_seq.npy`` lies there too, its sequences are the test sequences (``published=0`` draws them instead).
``moving-digits:`` moves the digits of scikit-learn and needs no file. Training sequences are new in every epoch; a tenth of the
training digits is set aside for the validation sequences, so that these show digits that were not learnt from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from subband.data.digests import file_digest
from subband.data.embedded.drawn import whole_number
from subband.data.folders import existing_folder
from subband.data.task_data import TaskData
from subband.data.video.digits import Digits, idx_file, read_idx, sklearn_digits
from subband.data.video.moving import MOVING_VERSION, DrawnSequences, StoredSequences
from subband.errors import DataError, unknown_name

PUBLISHED = "mnist_test_seq.npy"
PUBLISHED_FRAMES, PUBLISHED_SIZE = 20, 64
HELD_OUT_SHARE = 0.1
FEWEST = 10  # training digits, of which a tenth is one


@dataclass(frozen=True)
class MovingOptions:
    """Options of the URIs.

    Attributes:
        train: training sequences of an epoch.
        validation: sequences that choose the checkpoint.
        test: sequences that are reported.
        seed: of the validation and test sequences, and of the choice of digits that are set aside; training sequences are drawn by
            the seed of the training.
        digits: that move in a sequence.
        length: frames of a sequence.
        size: side of a frame in pixels.
    """

    train: int = 10_000
    validation: int = 1_000
    test: int = 10_000
    seed: int = 0
    digits: int = 2
    length: int = 20
    size: int = 64


_RANGES = {
    "train": (1, 10_000_000),
    "validation": (1, 1_000_000),
    "test": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "digits": (1, 100),
    "length": (2, 1000),
    "size": (32, 512),
}
OFFLINE = MovingOptions(train=1024, validation=128, test=256)


class MovingDigits(TaskData):
    """Sequences of moving digits.

    Args:
        scheme: of the URI.
        path: in the URI, or empty.
        digits: training digits and test digits.
        options: of the URI.
        published: the published test file, or None if test sequences are drawn.

    Attributes:
        options: of the URI.
        published: the published test file, or None.

    Raises:
        DataError: too few digits, or a published file that is another one or does not fit the options.
    """

    holds = "sequences of moving digits"

    def __init__(
        self,
        scheme: str,
        path: str,
        digits: tuple[Digits, Digits],
        options: MovingOptions,
        published: Path | None = None,
    ) -> None:
        query = "&".join(f"{name}={value}" for name, value in asdict(options).items())
        if path:
            query += f"&published={int(published is not None)}"
        super().__init__(f"{scheme}:{path}?{query}", scheme)
        self.options = options
        self.published = published
        self._train, self._test = digits
        if len(self._train) < FEWEST or not len(self._test):
            raise DataError(
                f"{self.uri}: {len(self._train)} training and {len(self._test)} test digits are too few: at least {FEWEST} and 1 "
                "are needed"
            )
        self._stored = None if published is None else _read_published(published, options)

    def training(self, seed: int, hold_out: bool = True) -> DrawnSequences:
        """Sequences to learn from, new in every epoch.

        Args:
            seed: of the training.
            hold_out: leave out the digits of the validation sequences.
        """
        digits = self._split()[0] if hold_out else self._train
        return self._drawn("train", digits, self.options.train, seed, renewed=True)

    def validation(self) -> DrawnSequences:
        """Sequences to choose by, always the same ones."""
        return self._drawn("validation", self._split()[1], self.options.validation, self.options.seed)

    def test(self) -> DrawnSequences | StoredSequences:
        """Sequences to report, always the same ones."""
        if self._stored is not None:
            return StoredSequences(self._stored, self.options.test, self.options.length)
        return self._drawn("test", self._test, self.options.test, self.options.seed)

    def digest(self) -> str:
        """Hash of the digits, the options, the rule of drawing, and the published file if it is used."""
        running = hashlib.sha256(
            json.dumps({"moving": MOVING_VERSION, **asdict(self.options)}, sort_keys=True).encode()
        )
        for part in (self._train, self._test):
            running.update(f"{part.shape}".encode())
            running.update(part.tobytes())
        if self.published is not None:
            running.update(file_digest(self.published).encode())
        return running.hexdigest()

    def _split(self) -> tuple[Digits, Digits]:
        """Training digits that are learnt from, and those that are set aside."""
        order = np.random.default_rng([self.options.seed]).permutation(len(self._train))
        aside = int(HELD_OUT_SHARE * len(order))
        return self._train[order[aside:]], self._train[order[:aside]]

    def _drawn(self, stream: str, digits: Digits, count: int, seed: int, renewed: bool = False) -> DrawnSequences:
        options = self.options
        return DrawnSequences(digits, count, stream, seed, options.digits, options.length, options.size, renewed)


def open_moving_mnist(path: str, options: Mapping[str, str]) -> MovingDigits:
    """Open a folder of MNIST's files.

    Args:
        path: the folder; relative to the current folder, ``~`` is the home folder.
        options: as `MovingOptions` explains them, and ``published``, 1 to test on the published file (the default where it is
            there) or 0 to draw test sequences.

    Raises:
        DataError: no such folder or files, damaged files, or illegal options.
    """
    root = existing_folder(path, f"moving-mnist:{path}")
    given, published = dict(options), None
    asked = whole_number("moving-mnist", "published", given["published"], 0, 1) if "published" in given else None
    given.pop("published", None)
    if asked != 0:
        published = root / PUBLISHED if (root / PUBLISHED).is_file() else None
        if asked == 1 and published is None:
            raise DataError(f"{root} has no {PUBLISHED}; put it there, or leave published=1 out to draw test sequences")
    train, test = idx_file(root, "train"), idx_file(root, "test")
    if train is None or (test is None and published is None):
        missing = "train-images-idx3-ubyte" if train is None else f"t10k-images-idx3-ubyte (nor {PUBLISHED})"
        raise DataError(
            f"{root} has no {missing}[.gz], nor have its sub-folders raw and MNIST/raw; give the folder of MNIST's files, or "
            "moving-digits: for digits that need no download"
        )
    chosen = _options("moving-mnist", given, MovingOptions(), ("published",))
    if published is not None and "test" not in given:
        chosen = replace(chosen, test=_published_array(published).shape[1])
    # Without test digits the published file is there, and no test sequence is drawn.
    digits = (read_idx(train), read_idx(test or train))
    return MovingDigits("moving-mnist", str(root), digits, chosen, published)


def open_moving_digits(path: str, options: Mapping[str, str]) -> MovingDigits:
    """Open the embedded source of sequences.

    Args:
        path: must be empty; the URI has options only.
        options: as `MovingOptions` explains them; the counts' defaults are smaller here.

    Raises:
        DataError: a path, or illegal options.
    """
    if path:
        raise DataError(
            f"moving-digits: takes options and no path; write moving-digits:?{path.lstrip('/')} or moving-mnist:{path}"
        )
    return MovingDigits("moving-digits", "", sklearn_digits(), _options("moving-digits", options, OFFLINE))


def _options(
    scheme: str, options: Mapping[str, str], defaults: MovingOptions, others: tuple[str, ...] = ()
) -> MovingOptions:
    if unknown := [option for option in options if option not in _RANGES]:
        raise DataError(f"{scheme}: {unknown_name('option', unknown[0], [*_RANGES, *others])}")
    numbers: dict[str, Any] = {
        option: whole_number(scheme, option, text, *_RANGES[option]) for option, text in options.items()
    }
    return replace(defaults, **numbers)


def _published_array(path: Path) -> npt.NDArray[np.uint8]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged or no array ({error}); fetch it again") from error
    wanted = (PUBLISHED_FRAMES, PUBLISHED_SIZE, PUBLISHED_SIZE)
    if array.ndim != 4 or (array.shape[0], *array.shape[2:]) != wanted or array.dtype != np.uint8 or not array.shape[1]:
        raise DataError(
            f"{path} is {array.dtype} {array.shape}; the published file is uint8 ({PUBLISHED_FRAMES}, 10000, {PUBLISHED_SIZE}, "
            f"{PUBLISHED_SIZE}): frames first, then sequences"
        )
    return array


def _read_published(path: Path, options: MovingOptions) -> npt.NDArray[np.uint8]:
    array = _published_array(path)
    limits = {"test": array.shape[1], "length": PUBLISHED_FRAMES}
    over = [
        f"{name}={value} (at most {most})" for name, most in limits.items() if (value := getattr(options, name)) > most
    ]
    fixed = {"digits": 2, "size": PUBLISHED_SIZE}
    over += [
        f"{name}={value} (it has {has})" for name, has in fixed.items() if (value := getattr(options, name)) != has
    ]
    if over:
        raise DataError(f"{path} does not fit {', '.join(over)}; add published=0 to draw the test sequences instead")
    return array
