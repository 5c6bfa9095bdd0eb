"""Runs what others made for judging MCP servers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from opencode_mcp.opencode import Endpoint
from tests import npm
from tests.conftest import make_project

from .npm_programs import PACKAGES, Programs


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The programs by others."""
    return Programs(npm.install_packages("proofs", PACKAGES), tmp_path_factory.mktemp("home-of-programs"))


@pytest.fixture(scope="module")
def attached_environ(
    module_environ: Mapping[str, str], module_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """The environment of a server that is attached to the running OpenCode, and serves whoever reaches it."""
    return {
        **module_environ,
        "OPENCODE_MCP_URL": str(module_endpoint.url),
        "OPENCODE_SERVER_PASSWORD": module_endpoint.password or "",
        "OPENCODE_MCP_DIRECTORY": str(make_project(tmp_path_factory.mktemp("proofs") / "project", module_environ)),
        "OPENCODE_MCP_NO_AUTH": "1",
    }
