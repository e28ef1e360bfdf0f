"""A local Ray whose workers know the methods that exist for tests alone, as the test process does."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
from types import ModuleType
from typing import Any

METHODS = {"swept-blobs": "tests.tuning.swept_blobs:SWEPT_BLOBS"}
REGISTRY = "subband.methods.registry"


class _AddsMethods(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Adds them when the registry is imported: most of Ray's processes never import it, nor torch with it."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module._METHODS.update(METHODS)


def register() -> None:
    """Called in every worker when it starts."""
    if REGISTRY in sys.modules:
        sys.modules[REGISTRY]._METHODS.update(METHODS)
    else:
        sys.meta_path.insert(0, _AddsMethods())


def connect_with_test_methods() -> None:
    from subband.compute.cluster import connect

    register()
    hook = {"runtime_env": {"worker_process_setup_hook": f"{__name__}.{register.__name__}"}}
    import pytest  # here: workers need not import it

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(hook))
        connect()
