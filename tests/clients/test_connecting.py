"""Why a connection failed: which certificate and what to do, or a proxy that is ignored on purpose; never a secret."""

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netra_probe.clients.cache import CacheClient
from netra_probe.clients.exchange import LiveExchange
from netra_probe.clients.http import Http, Service
from netra_probe.clients.replies import Timeouts, Unreachable
from netra_probe.clients.websocket import Handshake, open_socket
from netra_probe.errors import TargetError
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.tls import PROXY_VARIABLES, Tls

NOW = datetime.datetime.now(datetime.UTC)


def certificate(folder: Path, name: str, *, host: str = "localhost", days: int = 1, more: str = "") -> Path:
    """A certificate that signed itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [(NameOID.COMMON_NAME, host + "\x1b[31m" if more else host), (NameOID.ORGANIZATION_NAME, more)]
    subject = x509.Name([x509.NameAttribute(kind, text) for kind, text in names if text])
    addresses: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        addresses.append(x509.IPAddress(ip_address("127.0.0.1")))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=3))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "good": certificate(folder, "good"),
        "expired": certificate(folder, "expired", days=-1),
        "other": certificate(folder, "other", host="other.example"),
        "odd": certificate(folder, "odd", host="red", more="x" * 60),
    }


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history.jsonl")
    yield recorder
    recorder.abandon()


@pytest.fixture
async def serve(certificates: dict[str, Path]) -> AsyncIterator[object]:
    """Starts servers that answer every request with 200, over TLS with a certificate or without; returns their port."""
    servers = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def start(name: str) -> int:
        context = None
        if name != "plain":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates[name])
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("good", None, "self-signed certificate (of CN=localhost, issued by CN=localhost, valid {from} to {tomorrow})"),
        ("expired", "expired", "certificate has expired (of CN=localhost, issued by CN=localhost, valid {from} to "),
        ("other", "other", "'127.0.0.1' (of CN=other.example, issued by CN=other.example, valid {from} to {tomorrow})"),
        ("odd", None, "(of O=" + 60 * "x" + ",CN=red [31m, issued by O=xxx"),
        ("plain", None, "no TLS certificate was offered ("),
    ],
)
async def test_trouble_with_a_certificate_names_the_certificate_and_the_key(
    name: str, trusted: str | None, said: str, serve: object, certificates: dict[str, Path], history: Recorder
) -> None:
    port = await serve(name)  # type: ignore[operator]
    tomorrow = NOW + datetime.timedelta(days=1)
    said = said.replace("{from}", f"{NOW - datetime.timedelta(days=3):%Y-%m-%d}")
    said = said.replace("{tomorrow}", f"{tomorrow:%Y-%m-%d}")
    context = Tls(ca_bundle=str(certificates[trusted]) if trusted else None).context()
    http = Http(LiveExchange(history, Service(base_url=f"https://127.0.0.1:{port}", surface="rest"), verify=context))
    reply = await http.request("GET", "/health")
    await http.close()
    assert isinstance(reply, Unreachable)
    assert said in reply.reason
    handshake = Handshake(name="ws-1")
    opened = await open_socket(history, f"wss://127.0.0.1:{port}", handshake, ssl_context=context)
    assert isinstance(opened, Unreachable)
    assert said in opened.reason
    if name != "plain":
        assert "the certificate was not accepted, " in reply.reason
        assert "; give target.ca_bundle" in reply.reason
        assert len(reply.reason) < 600 and reply.reason.isprintable()
    with pytest.raises(TargetError, match=r"issued by|no TLS certificate") as told:
        await CacheClient.open(history, Secret(f"rediss://user:p4ssw0rd@127.0.0.1:{port}"), Timeouts())
    assert "p4ssw0rd" not in str(told.value)


@pytest.fixture
def asking(certificates: dict[str, Path]) -> Iterator[int]:
    """The port of a server that lets nobody in who shows no certificate, and says so (asyncio's servers hang up)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates["good"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates["other"])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            peer, _ = listener.accept()
            with context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False) as asked:
                with contextlib.suppress(OSError):
                    asked.do_handshake()
                # Closing with something unread would overtake the alert.
                socket.socket.recv(asked, 65536)

        thread = threading.Thread(target=refuse)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(timeout=30)


async def test_a_server_that_asks_for_a_certificate_says_so(
    asking: int, certificates: dict[str, Path], history: Recorder
) -> None:
    port = asking
    context = Tls(ca_bundle=str(certificates["good"])).context()
    http = Http(LiveExchange(history, Service(base_url=f"https://127.0.0.1:{port}", surface="rest"), verify=context))
    reply = await http.request("GET", "/health")
    await http.close()
    assert isinstance(reply, Unreachable)
    assert "client certificate" in reply.reason
    assert "give target.client_certificate" in reply.reason


@pytest.mark.parametrize("variable", [*PROXY_VARIABLES, "https_proxy"])
@pytest.mark.parametrize("url", ["http://no-such-host.invalid:1", "http://127.0.0.1:9"])
async def test_a_proxy_that_is_ignored_is_named_where_it_may_be_missed(
    variable: str, url: str, history: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, "http://user:pr0xyp4ss@proxy.example:3128")
    http = Http(LiveExchange(history, Service(base_url=url, surface="rest")))
    reply = await http.request("GET", "/health")
    await http.close()
    assert isinstance(reply, Unreachable)
    elsewhere = "invalid" in url
    opened = await open_socket(history, url.replace("http", "ws"), Handshake(name="ws-1"))
    assert isinstance(opened, Unreachable)
    for reason in (reply.reason, opened.reason):
        assert (f"{variable.upper()} is set, but the probe connects directly" in reason) == elsewhere
        assert "pr0xyp4ss" not in reason
