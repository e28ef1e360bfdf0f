"""A local Ray whose workers know the methods that exist for tests alone, as the test process does."""

from __future__ import annotations

import json
import os

import pytest

METHODS = {"swept-blobs": "tests.tuning.swept_blobs:SWEPT_BLOBS"}


def register() -> None:
    """Called in every worker when it starts."""
    from subband.methods import registry

    registry._METHODS.update(METHODS)


def connect_with_test_methods() -> None:
    from subband.tuning.cluster import connect

    register()
    hook = {"runtime_env": {"worker_process_setup_hook": f"{__name__}.{register.__name__}"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(hook))
        connect()
    assert "RAY_ADDRESS" not in os.environ
