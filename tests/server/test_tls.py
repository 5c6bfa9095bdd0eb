"""OpenCode behind a proxy with TLS, and a private CA: everything works with its certificate, and says so without."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.doctor import CheckResult, run_checks
from opencode_mcp.exceptions import SettingsError, TLSError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.facts import facts

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"


@dataclass(frozen=True)
class CertificateAuthority:
    """A private CA: `file` has its certificate, `server` a certificate of 127.0.0.1 with its key."""

    file: Path
    server: Path


def make_certificate(
    name: str, issuer: x509.Name | None, signer: ec.EllipticCurvePrivateKey | None, **more: bool
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a certificate with its key, signed by an issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer or key, hashes.SHA256()), key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """A private CA."""
    folder = tmp_path_factory.mktemp("authority")
    root, root_key = make_certificate("a private CA", None, None)
    leaf, leaf_key = make_certificate(HOST, root.subject, root_key)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    private = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + private)
    return CertificateAuthority(folder / "ca.pem", folder / "server.pem")


@asynccontextmanager
async def serve_tls(upstream: Endpoint, authority: CertificateAuthority) -> AsyncGenerator[str]:
    """Serve OpenCode over TLS on loopback; return the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)

    async def copy(source: AnyByteStream, target: AnyByteStream, scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await target.send(await source.receive())
        scope.cancel()

    async def forward(client: AnyByteStream) -> None:
        assert upstream.url.port is not None
        async with client, await anyio.connect_tcp(upstream.url.host, upstream.url.port) as server:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(copy, client, server, tasks.cancel_scope)
                tasks.start_soon(copy, server, client, tasks.cancel_scope)

    plain = await anyio.create_tcp_listener(local_host=HOST)
    port = plain.extra(SocketAttribute.local_port)
    listener = TLSListener(plain, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, forward)
        yield f"https://{HOST}:{port}"
        tasks.cancel_scope.cancel()


@pytest.mark.unchanged_project
@pytest.mark.parametrize("by", ["flag", "variable"])
async def test_everything_works_with_the_ca_certificate(
    endpoint: Endpoint, authority: CertificateAuthority, attached: Settings, connect: Connect, by: str
) -> None:
    """A request, the event stream, a terminal's WebSocket and a task."""
    async with serve_tls(endpoint, authority) as url:
        settings = replace(attached, url=url)
        if by == "flag":
            settings = replace(settings, ca_file=authority.file)
        else:
            settings = replace(settings, environ={"SSL_CERT_FILE": str(authority.file)})
        async with connect(settings) as client:
            health = await client.call_tool("global_health", {})
            events = await client.call_tool("global_event", {"max_events": 1, "timeout_seconds": 30})
            terminal = await client.call_tool("pty_create", {})
            asked = {"ptyID": facts(terminal)["id"], "input": "echo $((6*7))\n", "until": "42"}
            answered = await client.call_tool("pty_connect", {**asked, "timeout_seconds": 30})
            task = await client.call_tool("run_task", {"prompt": "script:text over TLS"})

    assert facts(health)["healthy"] is True
    assert len(facts(events)["events"]) == 1
    assert facts(answered)["ended"] == "until"
    assert facts(task)["state"] == "completed"


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a failed call."""
    assert result.is_error
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


@pytest.mark.unchanged_project
async def test_every_connection_names_the_certificate_when_the_ca_is_unknown(
    endpoint: Endpoint, authority: CertificateAuthority, attached: Settings, connect: Connect
) -> None:
    """Neither refused nor gone away: requests, streams and WebSockets alike, at once."""
    async with serve_tls(endpoint, authority) as url, connect(replace(attached, url=url)) as client:
        with anyio.fail_after(30):
            for name, arguments in (
                ("global_health", {}),
                ("global_event", {}),
                ("pty_connect", {"ptyID": "pty_1"}),
                ("run_task", {"prompt": "hi"}),
            ):
                said = result_text(await client.call_tool(name, arguments))
                assert f"TLS with OpenCode at {url} failed: its certificate is not trusted: " in said, name
                assert "set --ca-file or SSL_CERT_FILE to its certificate" in said, name


async def test_doctor_reports_a_tls_error_as_such(
    endpoint: Endpoint, authority: CertificateAuthority, environ: Mapping[str, str]
) -> None:
    """The port is right, and nothing refuses."""
    found: list[CheckResult] = []

    async def report(message: str) -> None:
        pass

    async with serve_tls(endpoint, authority) as url:
        await run_checks(Settings.load({"url": url}, environ), 0, found.append, report)

    [reachable] = [finding for finding in found if finding.check == "reachable"]
    assert "TLS fails: its certificate is not trusted" in reachable.message
    assert "refused" not in reachable.message


async def test_https_to_an_http_port_is_named(endpoint: Endpoint, catalog: Catalog) -> None:
    """The most common mistake with a URL."""
    url = endpoint.url.copy_with(scheme="https")
    async with OpenCodeClient(AttachedServer(Endpoint(url)), catalog) as opencode:
        with pytest.raises(TLSError, match=r"does not speak TLS .*: does the URL need http:// instead of https://\?"):
            await opencode.call("global_health")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_without_certificates_is_refused_at_start(tmp_path: Path, content: str | None) -> None:
    """By the name of the setting that it came from."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingsError, match=r"--ca-file .*ca\.pem"):
        Settings.load({"url": "https://opencode.test", "ca_file": str(file)}, {})
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE .*ca\.pem"):
        Settings.load({"url": "https://opencode.test"}, {"SSL_CERT_FILE": str(file)})
    assert Settings.load({"url": "http://opencode.test"}, {"SSL_CERT_FILE": str(file)}).trusted_ca_file == str(file)
