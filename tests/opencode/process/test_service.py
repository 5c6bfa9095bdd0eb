"""The background service of OpenCode 2 is discovered by its registration: it is believed only if its server agrees."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.opencode.process import service as module
from opencode_mcp.opencode.process.service import find_service, is_in_use
from opencode_mcp.redaction import KnownSecrets, service_files
from tests.cli.fake_http_server import JSON, HttpAnswer, fake_http_server

pytestmark = pytest.mark.anyio

PASSWORD = "c2VydmljZS1wYXNzd29yZC0xMjM0NTY3ODkw"
INFO: Mapping[str, Any] = {"version": "2.1.2", "pid": 4242, "urls": [], "paths": {"tmp": "/tmp"}}


def info_route(**changes: Any) -> Mapping[str, HttpAnswer]:
    """Return the route at which a service says who it is."""
    return {"/api/info": (200, JSON, json.dumps({**INFO, **changes}).encode())}


def register(state: Path, url: str, mode: int = 0o600, **changes: Any) -> Mapping[str, str]:
    """Write the registration of a service; return the environment of its user."""
    file = state / "opencode" / "service.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"id": "srv_1", "version": "2.1.2", "url": url, "pid": 4242, "password": PASSWORD, **changes}
    file.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    file.chmod(mode)
    return {"XDG_STATE_HOME": str(state)}


async def test_a_running_service_is_found(tmp_path: Path) -> None:
    """With its address and password, and without a proxy of the environment."""
    with fake_http_server(info_route()) as url:
        service = await find_service(register(tmp_path, url))

    assert service is not None
    assert service.endpoint.base_url == url
    assert (service.endpoint.username, service.endpoint.password) == ("opencode", PASSWORD)
    assert (service.pid, service.version, service.generation) == (4242, "2.1.2", 2)
    assert PASSWORD not in service.describe() + repr(service)


@pytest.mark.parametrize(
    ("routes", "changes"),
    [
        pytest.param(info_route(pid=1), {}, id="another process"),
        pytest.param(info_route(version="2.1.3"), {}, id="another version"),
        pytest.param({"/api/info": (401, JSON, b"{}")}, {}, id="another password"),
        pytest.param({}, {}, id="another server"),
        pytest.param(info_route(), {"pid": None}, id="a registration without a process"),
        pytest.param(info_route(), {"pid": "x"}, id="a process that is not a number"),
        pytest.param(info_route(), {"url": "http://192.0.2.1:49374"}, id="another machine"),
        pytest.param(info_route(), {"url": "http://"}, id="no address"),
        pytest.param(info_route(), {"mode": 0o644}, id="a registration that others can read"),
    ],
)
async def test_a_registration_that_its_server_does_not_confirm_is_no_service(
    tmp_path: Path, routes: Mapping[str, HttpAnswer], changes: dict[str, Any]
) -> None:
    """It is stale, or is not this user's."""
    with fake_http_server(routes) as url:
        given: dict[str, Any] = {"url": url, **changes}
        environ = register(tmp_path, **given)
        assert await find_service(environ) is None


@pytest.mark.parametrize("body", [b'{"code":"service_starting"}', json.dumps(INFO).encode()])
async def test_a_service_that_starts_is_found(tmp_path: Path, body: bytes) -> None:
    """Another OpenCode 2 must not be started beside it: it may import the data of OpenCode 1."""
    with fake_http_server({"/api/info": (503, JSON, body)}) as url:
        assert await find_service(register(tmp_path, url)) is not None


async def test_a_service_that_was_found_stays_in_use_while_it_is_busy(tmp_path: Path) -> None:
    """Until its registration is another's, or its process has ended."""
    with fake_http_server(info_route(pid=os.getpid())) as url:
        environ = register(tmp_path, url, pid=os.getpid())
        service = await find_service(environ)
        assert service is not None
        assert await is_in_use(service, environ)

    assert await is_in_use(service, environ)  # it does not answer any more, and runs
    register(tmp_path, url, pid=os.getpid(), version="2.1.3")
    assert not await is_in_use(service, environ)
    ended = replace(service, pid=2**22 + 1)
    register(tmp_path, url, pid=ended.pid)
    assert not await is_in_use(ended, environ)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
async def test_a_broken_registration_is_no_service(tmp_path: Path, text: str) -> None:
    """Nor is one that does not exist."""
    assert await find_service({"HOME": str(tmp_path)}) is None
    environ = register(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "opencode" / "service.json").write_text(text)
    assert await find_service(environ) is None


async def test_a_service_that_does_not_answer_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of a client waits for it."""
    monkeypatch.setattr(module, "SERVICE_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = register(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started_at = time.monotonic()
        assert await find_service(environ) is None

    assert time.monotonic() - started_at < 30


def test_the_password_of_the_service_is_redacted(tmp_path: Path) -> None:
    """Of its registration, and of its configuration."""
    environ = register(tmp_path, "http://127.0.0.1:1")
    configuration = tmp_path / "config" / "opencode" / "service.json"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(json.dumps({"port": 1, "password": PASSWORD[::-1]}))
    files = service_files({**environ, "XDG_CONFIG_HOME": str(tmp_path / "config")})

    assert {PASSWORD, PASSWORD[::-1]} <= {*KnownSecrets(files=files).values}
