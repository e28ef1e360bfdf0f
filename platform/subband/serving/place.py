"""Name, route and address of an application in a Ray Serve that others may share.

One Serve of a cluster has one HTTP address for all its applications; a request reaches the application with the longest
matching route. Deploying under a name that runs already replaces that application without a question, hence the checks here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from subband.errors import ClusterError, ParamsError
from subband.serving.settings import DEFAULT_NAME

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_OWN_PATHS = ("v1", "docs", "healthz", "openapi.json")
_ROUTE = re.compile(r"/|(/[A-Za-z0-9_][\w.~-]*)+", re.ASCII)


class Application(NamedTuple):
    """One application of a running Serve: its route, None if it answers no HTTP, and when it was deployed, s."""

    route: str | None
    deployed: float


class RunningServe(NamedTuple):
    """Address and applications of the Serve that runs in the cluster."""

    host: str
    port: int
    applications: Mapping[str, Application]


class Place(NamedTuple):
    """Where one application answers."""

    name: str
    route: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Address of its interface, as this machine reaches it, without a final slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.route.rstrip('/')}"


def running_serve() -> RunningServe | None:
    """The Serve of the cluster that this process has joined; None where none runs."""
    from ray.serve.context import _get_global_client  # the public `serve.status` names neither address nor routes
    from ray.serve.schema import ApplicationStatus, ServeInstanceDetails

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    found = ServeInstanceDetails(**client.get_serve_details()).applications
    applications = {
        name: Application(each.route_prefix, each.last_deployed_time_s)
        for name, each in found.items()
        if each.status != ApplicationStatus.DELETING
    }
    return RunningServe(client.http_config.host, client.http_config.port, applications)


def choose_place(
    running: RunningServe | None, name: str, route: str | None, host: str | None, port: int | None, replace: bool
) -> Place:
    """Decide where an application goes, before anything is deployed.

    Args:
        running: the Serve that runs already, None if this process starts it.
        name: name of the application.
        route: path in front of its interface; None for "/" under the default name, else "/NAME".
        host: address to listen at; None for that of the running Serve, else 127.0.0.1.
        port: port to listen at; None for that of the running Serve, else 8000.
        replace: whether an application of that name may be replaced.

    Raises:
        ParamsError: a malformed name or route, one that is taken, or an address other than that of the running Serve; the
            message says what to type.
    """
    if not _NAME.fullmatch(name):
        raise ParamsError(f"--name {name!r} is not a name of letters, digits, '_', '-' and '.'; --name line3 is one")
    route = ("/" if name == DEFAULT_NAME else f"/{name}") if route is None else route
    if not _ROUTE.fullmatch(route):
        raise ParamsError(
            f"--route {route!r} is not a path that begins with '/' and ends without one; --route /line3 is one"
        )
    if (first := route.split("/")[1]) in _OWN_PATHS:
        raise ParamsError(f"--route {route} would hide /{first} of a server at /; --route /line3 is free")
    if running is None:
        return Place(name, route, host or "127.0.0.1", port or 8000)
    place = Place(name, route, running.host, running.port)
    if (host or running.host, port or running.port) != (running.host, running.port):
        raise ParamsError(
            f"the cluster's Serve listens at {running.host}:{running.port} for all its applications: type --name "
            f"{_free_name(name, running)} without --host and --port, or end that Serve first with `serve shutdown`"
        )
    apps = running.applications
    free = _free_name(name, running)
    if name in apps and not replace:
        shown = "no route" if (taken := apps[name].route) is None else place._replace(route=taken).url
        raise ParamsError(
            f"the cluster already runs an application {name!r} at {shown}: type --name {free} for a server of its own "
            f"at /{free}, or --replace to end that one"
        )
    owner = next((other for other, app in apps.items() if other != name and app.route == route), None)
    if owner is not None:
        raise ParamsError(
            f"route {route} belongs to the cluster's application {owner!r}: type --name {free} --route /{free}, "
            "or another free route"
        )
    return place


def check_still_ours(place: Place, deployed: float | None) -> None:
    """Compare what runs now with what this process deployed.

    Args:
        place: of the application.
        deployed: when this process deployed it, from `deployed_at`.

    Raises:
        ClusterError: it was deleted, or replaced by another one of the same name.
    """
    now = deployed_at(place.name)
    if now is None:
        raise ClusterError(
            f"application {place.name!r} was deleted from the cluster, and {place.url} no longer answers for it; "
            "start this server again to restore it"
        )
    if now != deployed:
        raise ClusterError(
            f"application {place.name!r} was replaced by another deployment, which goes on; this server ends"
        )


def deployed_at(name: str) -> float | None:
    """When the application of this name was deployed, s since the epoch; None where there is none."""
    running = running_serve()
    found = None if running is None else running.applications.get(name)
    return None if found is None else found.deployed


def _free_name(name: str, running: RunningServe) -> str:
    routes = {app.route for app in running.applications.values()}
    tries = (f"{name}-{number}" for number in range(2, len(running.applications) + 3))
    return next(each for each in tries if each not in running.applications and f"/{each}" not in routes)
