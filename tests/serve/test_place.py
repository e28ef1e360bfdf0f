"""Several servers on one Ray cluster: each has its own name and route, and none ends another by mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack

import httpx
import pytest
import ray
from ray import serve as ray_serve

from subband.errors import ParamsError
from subband.serving.place import choose_place, running_serve
from tests.serve.conftest import ROOT, child_environment, encoded, free_port
from tests.serve.test_run import started, wait_for
from tests.waiting import PATIENCE


def place_on(running, **asked):
    return choose_place(
        running, **{"name": "subband", "route": None, "host": None, "port": None, "replace": False} | asked
    )


def test_what_the_cluster_has_already_is_refused_with_what_to_type(server):
    running = running_serve()
    assert running is not None
    assert (f"http://{running.host}:{running.port}", set(running.applications)) == (server.url, {"up", "down"})
    refused = [
        ({"name": "up"}, rf"already runs an application 'up' at {re.escape(server.url)}: type --name up-2 .*--replace"),
        ({}, "route / belongs to the cluster's application 'up': type --name subband-2 --route /subband-2"),
        ({"name": "line3", "route": "/down"}, "route /down belongs to the cluster's application 'down'"),
        ({"name": "up", "route": "/down", "replace": True}, "route /down belongs"),
        ({"name": "line3", "port": running.port + 1}, f"listens at 127.0.0.1:{running.port} .* --name line3-2 without"),
        ({"name": "line3", "host": "0.0.0.0"}, "without --host and --port"),
    ]
    for asked, words in refused:
        with pytest.raises(ParamsError, match=words):
            place_on(running, **asked)
    assert place_on(running, name="line3").url == f"{server.url}/line3"
    assert place_on(running, name="up", route="/", replace=True).url == server.url


def test_workers_have_the_priority_of_any_program(server):
    """Ray's own choice starves them where other work wants the CPUs, and a start takes minutes."""
    assert ray.get(ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()) == os.nice(0)


@pytest.mark.parametrize("route", ["line3", "/line3/", "//", "", "/{name}", "/-/routes", "/v1/models", "/docs"])
def test_a_route_that_no_server_can_have_is_refused(route):
    with pytest.raises(ParamsError, match="--route /line3 is"):
        place_on(None, route=route)


def test_addresses_are_those_that_this_machine_reaches():
    assert place_on(None, host="0.0.0.0", port=81).url == "http://127.0.0.1:81"
    assert place_on(None, name="line3", host="::", port=81).url == "http://[::1]:81/line3"
    with pytest.raises(ParamsError, match="--name line3 is one"):
        place_on(None, name="line 3")


@pytest.mark.slow
def test_servers_on_one_cluster_live_and_die_each_for_itself(server, client, pictures, models_dir, tmp_path):
    joining = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}  # perhaps with a token
    joining["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    environment = {**child_environment(tmp_path), **joining}
    command = [sys.executable, "serve/run.py", "--models-dir", str(models_dir), "--name"]
    logs = {name: tmp_path / f"{name}.log" for name in ("east", "west")}
    with ExitStack() as both:
        east, west = (both.enter_context(started([*command, name], environment, log)) for name, log in logs.items())
        said = {name: wait_for(logs[name], "Ctrl-C ends", each) for name, each in (("east", east), ("west", west))}
        again = [*command, "east", "--port", str(free_port())]
        refused = subprocess.run(
            again, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (refused.returncode, "type --name east-2 without --host and --port" in refused.stdout) == (1, True)
        for name in logs:
            assert f"{server.url}/{name}/v1/models/weave-centre/predict" in said[name]
            answer = client.post(f"/{name}/v1/models/weave-centre/predict", content=encoded(pictures[0]))
            assert answer.raise_for_status().json()["name"] == "weave-centre"
        ray_serve.delete("east")
        assert east.wait(PATIENCE) == 1
        assert "application 'east' was deleted from the cluster" in logs["east"].read_text()
        assert client.get("/west/healthz").status_code == client.get("/healthz").status_code == 200
        west.send_signal(signal.SIGINT)
        assert west.wait(PATIENCE) == 0, logs["west"].read_text()
    assert set(running_serve().applications) == {"up", "down"}
    assert client.get("/v1/models").status_code == httpx.codes.OK
    for log in logs.values():
        assert "Traceback" not in log.read_text(), log.read_text()
