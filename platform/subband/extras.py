"""Optional dependencies, with an error that names what to install."""

from __future__ import annotations

import importlib
from typing import Any

from subband.errors import SubbandError


def extra(module: str, name: str) -> Any:
    """An optional module.

    Args:
        module: dotted name.
        name: of the extra of this package that brings it.

    Raises:
        SubbandError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise SubbandError(f"{error.name} is not installed: pip install 'subband[{name}]'") from error


class Extra:
    """An optional module that is imported when it is first used, so that what stands beside it works without.

    Args:
        module: dotted name.
        name: of the extra of this package that brings it.
    """

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def __getattr__(self, attribute: str) -> Any:
        """What the module has of that name."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(extra(*self._place), attribute)
