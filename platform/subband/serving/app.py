"""The Ray Serve application.

on this machine, with advice:    python serve/run.py
on this machine, plain Serve:    serve run subband.serving.app:build
with arguments:                  serve run subband.serving.app:build models_dir=/data/detectors keep=20
on a running cluster:            serve deploy serve/config.yaml

In a checkout that is not installed, run the last three in its root with ``serve.app`` in the place of ``subband.serving.app``.
Arguments are the fields of `ServeSettings`; each may also come from the environment, for instance ``SUBBAND_SERVE_MODELS_DIR``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import torch
from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from subband.errors import ParamsError
from subband.serving.batching import Batcher
from subband.serving.models import Models
from subband.serving.settings import ServeSettings, make_settings
from subband.serving.sources import Folder, Registry, Source
from subband.serving.web import Service, make_api

STUCK_SECONDS = 60.0


class Detectors:
    """One replica: the web interface, its models, and the thread that scores.

    Args:
        settings: from `make_settings`, as plain values.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = ServeSettings.model_validate(settings)
        if self.settings.gpus and not torch.cuda.is_available():
            raise ParamsError(
                f"gpus is {self.settings.gpus:g}, but torch {torch.__version__} sees no GPU in this replica"
            )
        sources: list[Source] = []
        if self.settings.models_dir is not None:
            sources.append(Folder(self.settings.models_dir))
        if self.settings.tracking_uri is not None:
            sources.append(Registry(self.settings.tracking_uri))
        self.models = Models(sources, self.settings.keep, "cuda" if self.settings.gpus else "cpu")
        self.models.start(self.settings.refresh_seconds)
        self.batcher = Batcher(self.settings.batch, self.settings.cpus)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve asks for the web interface once the replica is made."""
        return make_api(Service(self.models, self.batcher, self.settings))

    async def check_health(self) -> None:
        """Serve replaces a replica whose inference thread is stuck; models that cannot be loaded are no reason to."""
        await asyncio.wait_for(self.batcher.ping(), STUCK_SECONDS)

    def __del__(self) -> None:
        """Stop the threads."""
        for part in ("models", "batcher"):
            if hasattr(self, part):
                getattr(self, part).close()


def build(args: dict[str, Any]) -> Application:
    """The application for these settings, and those in the environment below them.

    Args:
        args: fields of `ServeSettings` by name.

    Raises:
        SubbandError: an unknown or illegal setting; the message names it and what would be right.
    """
    settings = make_settings(args)
    # A replica takes in more than one batch, so that the next is decoded while one is scored.
    ongoing = max(2 * settings.batch, 32)
    deployment = serve.deployment(
        name="detectors",
        num_replicas=settings.replicas,
        max_ongoing_requests=ongoing,
        max_queued_requests=16 * ongoing,
        health_check_timeout_s=STUCK_SECONDS + 10,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    )
    application: Application = deployment(serve.ingress()(Detectors)).bind(settings.model_dump(mode="json"))
    return application
