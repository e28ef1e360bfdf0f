"""The body of the serve job: flags in, the application deployed, and what to type to ask it."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from pydantic import Field, create_model

from subband.compute import START_SECONDS
from subband.compute.cluster import connect
from subband.errors import ClusterError, ParamsError, SubbandError
from subband.runs.flags import renamed
from subband.runs.shell import DONE, Shell, run_job
from subband.serving.place import Place, check_still_ours, choose_place, deployed_at, running_serve
from subband.serving.settings import DEFAULT_NAME, ServeSettings, make_settings

WATCH_SECONDS = 1.0  # between two looks at whether the application is still there


def serve_job(description: str, argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Args:
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 wrong flags.
    """

    def body(shell: Shell) -> int:
        given = tyro.cli(_flags(), description=description, args=renamed(sys.argv[1:] if argv is None else argv))
        values = {name: value for name, value in given.model_dump().items() if value is not None}
        asked = {name: values.pop(name, None) for name in ("name", "route", "host", "port", "replace")}
        settings = make_settings(values)
        place = choose_place(None, **asked)
        if not os.environ.get("RAY_ADDRESS"):  # a cluster's Serve may hold the port, and takes more applications
            _check_port(place.host, place.port)
        _serve(shell, settings, values, asked)
        return DONE

    return run_job(body, "interrupted before it answered")


def _flags() -> type[Any]:
    """Flags of the settings, all optional: what is left out comes from the environment, else from the default."""
    fields: dict[str, Any] = {
        "host": (
            str | None,
            Field(None, description="Address to listen at (127.0.0.1); 0.0.0.0 for every network of this machine."),
        ),
        "port": (
            int | None,
            Field(None, ge=1, le=65535, description="Port to listen at (8000, or that of the cluster's Serve)."),
        ),
        "name": (
            str,
            Field(DEFAULT_NAME, description="Name of the application; each server of a cluster needs its own."),
        ),
        "route": (
            str | None,
            Field(None, description="Path in front of the interface (/ under the default name, else /NAME)."),
        ),
        "replace": (
            bool,
            Field(False, description="Replace the application of this name if the cluster runs it already."),
        ),
    }
    for name, field in ServeSettings.model_fields.items():
        hint = f"(default: {field.default})" if field.default is not None else "(default: see above)"
        annotation = Annotated[field.rebuild_annotation() | None, tyro.conf.arg(help_behavior_hint=hint)]  # type: ignore[valid-type]
        fields[name] = (annotation, Field(None, description=field.description))
    flags: Any = create_model("Flags", **fields)
    return flags  # type: ignore[no-any-return]


def _check_port(host: str, port: int) -> None:
    """Serve's own report of a busy port is a long traceback.

    Raises:
        ParamsError: the port is taken, or this machine has no such address.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ParamsError(
                f"cannot listen at {host}:{port}: {error.strerror}; give another --port or --host"
            ) from error


def _serve(shell: Shell, settings: ServeSettings, values: dict[str, Any], asked: dict[str, Any]) -> None:
    """Deploy the application and wait until it ends.

    Args:
        shell: told what happens.
        settings: of the application.
        values: those that were given, as the application takes them.
        asked: name, route, host, port and replace, as `choose_place` takes them.

    Raises:
        ParamsError: the cluster has no such place; nothing was deployed.
        ClusterError: the application was deleted or replaced by somebody else.
    """
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    from subband.serving.app import build

    for what, where in (("folder", settings.models_dir), ("registry", settings.tracking_uri)):
        if where is not None:
            shell.print(f"{what}: {where}")
    where, why = connect()
    shell.print(f"ray: {where} ({why})")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    joined = bool(os.environ.get("RAY_ADDRESS"))
    place, deployed = choose_place(None, **asked), None
    try:
        if running_serve() is None:
            ray_serve.start(http_options=HTTPOptions(host=place.host, port=place.port), logging_config=quiet)
        place = choose_place(running_serve(), **asked)
        before = deployed_at(place.name)
        try:
            ray_serve.run(build(values), name=place.name, route_prefix=place.route, logging_config=quiet)
        finally:  # a deployment that failed is there, too
            now = deployed_at(place.name)
            deployed = None if now == before else now
        _advise(shell, place, deployed)
        while not ended.wait(WATCH_SECONDS):
            check_still_ours(place, deployed)
    except KeyboardInterrupt:
        pass
    except ClusterError:
        deployed = None
        raise
    finally:
        shell.print("closing")
        if not joined:
            ray_serve.shutdown()  # type: ignore[no-untyped-call]
        elif deployed is not None and deployed_at(place.name) == deployed:  # what others deployed goes on
            ray_serve.delete(place.name)


def _advise(shell: Shell, place: Place, deployed: float | None) -> None:
    """Say what is served and how to ask."""
    import httpx

    url = place.url
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            found = httpx.get(f"{url}/v1/models", timeout=60).raise_for_status().json()
            break
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise SubbandError(f"{url} does not answer: {error}") from error
            check_still_ours(place, deployed)
            time.sleep(0.2)
    for trouble in found["troubles"].values():
        shell.print(f"note: {trouble}")
    if not found["models"]:
        shell.print("no model yet: run `make sweep`; its champions are picked up while this runs")
    for model in found["models"]:
        threshold = f", threshold {model['threshold']:.4g}" if model["threshold"] is not None else ""
        shell.print(f"\n{model['name']} version {model['version']} ({model['method']}{threshold})")
        address = shlex.quote(f"{url}{model['predict']}")
        shell.print(f"  curl --data-binary @image.png {address}")
        shell.print(f"  curl --data-binary @image.png -H 'Accept: image/png' -o heatmap.png {address}")
    shell.print(f"\n{url}/v1/models lists them, {url}/docs explains every option; Ctrl-C ends")
