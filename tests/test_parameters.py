"""Parameter files are read strictly: one error, naming file, line, key and the nearest right one."""

import shutil
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployments import netra_probe, write_parameters
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from netra_probe import investigate
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.clients.replies import Timeouts
from netra_probe.clients.transport import LiveTransport
from netra_probe.clients.websocket import Handshake, Socket
from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target, read_target, resolve_secret
from netra_probe.target.parameters import ENVIRONMENTS, environment_file, read_parameters

STAGING = """\
environment: staging
target:
  auth_url: https://auth.example.org
  backend_urls: [https://api.example.org]
  database_url: env:STAGING_DATABASE_URL
users: 10
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "staging.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_committed_file_is_valid(environment: str) -> None:
    assert read_parameters(environment_file(environment)).environment == environment


def test_production_is_only_looked_at() -> None:
    target = read_target(read_parameters(environment_file("production")).target, where="production")
    assert target.mode == "observe"


@pytest.mark.parametrize("environment", ["test", "development", "staging", "production"])
def test_the_optional_keys_that_the_files_show_are_right(environment: str, tmp_path: Path) -> None:
    text = environment_file(environment).read_text()
    shown = [
        line[3:] for line in text.splitlines() if line.startswith("#   ") and not line.startswith(("#   #", "#     "))
    ]
    nested = [line[3:] for line in text.splitlines() if line.startswith("#     ") and not line.startswith("#       ")]
    here = shown.index(next(line for line in shown if "ownership:" in line)) + 1
    lines = [*shown[:here], *nested, *shown[here:]]
    values = yaml.safe_load("\n".join(line.replace("/etc/ssl/netra.pem", __file__) for line in lines))
    values = {**values, "client_certificate": __file__}
    if environment == "production":
        del values["mode"]
    target = {**read_parameters(environment_file(environment)).target, **values}
    assert set(read_target(target, where=environment).ownership) == {"people", "drafts"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("users: 10", "user: 10"), r'staging\.yaml, line 6: unknown key "user"; did you mean "users"\?'),
        (
            ("  auth_url", "  auth_ur"),
            r'line 3: unknown key "target\.auth_ur"; did you mean "auth_url"\?|"target\.auth_url" is missing',
        ),
        (("users: 10", "users: many"), r'line 6: "users" input should be a valid integer'),
        (("users: 10", "users: 1"), r'line 6: "users" input should be greater than or equal to 2'),
        (("https://auth", "ftp://auth"), r'line 3: "target\.auth_url" is not an http:// or https:// URL'),
        (("https://auth", "https://u:hunter2@auth"), r'line 3: "target\.auth_url" holds credentials'),
        (("env:STAGING", "postgresql://u:hunter2@db/STAGING"), r'line 5: "target\.database_url" must be a reference'),
        (("  backend_urls: [https://api.example.org]\n", ""), r'"target\.backend_urls" is missing'),
        (("[https://api.example.org]", "[]"), r'line 4: "target\.backend_urls" list should have at least 1 item'),
        (("environment: staging\n", ""), r'"environment" is missing'),
        (("users: 10", "users: [10"), r"staging\.yaml, line \d+: not YAML"),
    ],
)
def test_each_mistake_has_one_clear_error(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = written(tmp_path, STAGING.replace(*change))
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameters(path)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_deployment_other_than_the_lab_needs_a_target(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match='"target" is missing'):
        read_parameters(written(tmp_path, "environment: staging\n"))


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r'unknown environment "stagin".*did you mean "staging"'):
        environment_file("stagin")


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, STAGING)
    assert read_parameters(path, {"users": 4}).users == 4
    with pytest.raises(ParameterError, match=r'unknown parameter "round" \(-p\); did you mean "rounds"'):
        read_parameters(path, {"round": 4})


def test_a_reference_without_anything_behind_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAGING_DATABASE_URL", raising=False)
    with pytest.raises(
        ParameterError, match=r"target\.database_url: the environment variable STAGING_DATABASE_URL is not set"
    ):
        resolve_secret("env:STAGING_DATABASE_URL", name="database_url")


def test_a_reference_is_resolved_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"auth_url": "http://a.example", "backend_urls": ["http://b.example"], "jwt_secret": "env:SIGNING_KEY"}
    target = read_target(values, where="here")
    monkeypatch.setenv("SIGNING_KEY", "hunter2hunter2")
    assert target.secret("jwt_secret") == Secret("hunter2hunter2")
    assert "hunter2" not in repr(target)
    assert target.secret("database_url") is None


def test_surfaces_follow_from_what_is_given() -> None:
    target = Target(auth_url="http://localhost:1", backend_urls=["http://localhost:2"], redis_url="env:X")
    assert target.surfaces == {"auth", "rest", "websocket", "cache"}
    two = Target(auth_url="http://localhost:1", backend_urls=["http://localhost:2", "http://localhost:3"])
    assert two.surfaces == {"auth", "rest", "websocket", "second_backend"}
    assert target.is_local
    assert not Target(auth_url="http://localhost:1", backend_urls=["https://api.example.org"]).is_local


def test_a_header_that_could_switch_on_a_bypass_is_refused() -> None:
    values = {"auth_url": "http://a.example", "backend_urls": ["http://b.example"], "headers": {"X-E2E-Mode": "1"}}
    with pytest.raises(ParameterError, match="could switch on a test bypass"):
        read_target(values, where="here")


# Every mistake, wherever it is


ACCOUNTS = """\
  accounts:
    - {email: a@example.org, password: "env:FIRST"}
    - {email: b@example.org, password: "env:SECOND"}
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "  ownership: {drafts: {ownr: author}}\n",
            r'line 6: unknown key "target\.ownership\.drafts\.ownr"; .*"owner"',
        ),
        (
            ACCOUNTS.replace("password", "pasword"),
            r'line 7: unknown key "target\.accounts\.0\.pasword"; .*"password"',
        ),
        (ACCOUNTS.replace("env:FIRST", "hunter2"), r'line 7: "target\.accounts\.0\.password" must be a reference'),
        (ACCOUNTS.replace("b@", "A@"), r"names one of its accounts twice"),
        ("  headers: {Authorization: hunter2}\n", r'line 6: "target\.headers" header Authorization carries a secret'),
        ('  headers: {"bad name": x}\n', r'line 6: "target\.headers" holds a header name that HTTP does not allow'),
        ("  jwt_secret: hunter2hunter2\n", r'line 6: "target\.jwt_secret" must be a reference'),
        ('  jwt_secret: "env:"\n', r'line 6: "target\.jwt_secret" is a reference to nothing'),
        ("  service_secret: env:X\n", r'"target" has a service_secret without its service_id'),
        ("  ca_bundle: /nowhere/ca.pem\n", r'line 6: "target\.ca_bundle" names a file that is not there'),
        ("  verify_tls: 'no'\n", r'line 6: "target\.verify_tls" input should be a valid boolean'),
        ("  mode: atack\n", r"line 6: \"target\.mode\" input should be 'observe', 'probe' or 'attack'"),
        ("  mode: attack\n", r"mode attack needs authorised_by"),
        ("  max_requests: 1.5\n", r'line 6: "target\.max_requests" input should be a valid integer'),
        ("  max_requests_per_second: 0\n", r'line 6: "target\.max_requests_per_second" input should be greater than 0'),
        ("  generator: user_mesage\n", r"line 6: \"target\.generator\" input should be"),
        ("  components: {LLMManger: a.b:C}\n", r'line 6: .*unknown component "LLMManger"; did you mean "LLMManager"\?'),
        ("  components: {LLMManager: a.b.C}\n", r'line 6: .*for LLMManager no import path; write it as "package'),
        ("  auth_url: https://other.example.org\n", r'line 6: "auth_url" is given twice; keep one of them'),
        ("  ownership: {drafts: {owner: id, through: book}}\n", r"ownership of drafts through a table"),
    ],
)
def test_each_optional_key_is_read_as_strictly(tmp_path: Path, more: str, message: str) -> None:
    path = written(tmp_path, STAGING.replace("users: 10\n", f"{more}users: 10\n"))
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameters(path)
    assert str(caught.value).startswith(str(path))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://", "https://host:99999", "https://host/?a=1", "https://host/#x", "https://ho st", "//host", "7"]
)
def test_an_address_that_is_none_is_named(tmp_path: Path, url: str) -> None:
    path = written(tmp_path, STAGING.replace("https://auth.example.org", f'"{url}"'))
    with pytest.raises(ParameterError, match=r'line 3: "target\.auth_url" '):
        read_parameters(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no parameters"),
        ("- a\n", "holds no parameters"),
        ("1: 2\nenvironment: lab\n", r"line 1|1"),
        ("environment: lab\nusers: true\n", r'line 2: "users" input should be a valid integer'),
        ("environment: lab\nusers: 3.0\n", r'line 2: "users" input should be a valid integer'),
        ('environment: lab\nseed: "7"\n', r'line 2: "seed" input should be a valid integer'),
        ("environment: lab\ntarget: []\n", r'line 2: "target" input should be a valid dictionary'),
        ("environment: lab\nusers: 3\nusers: 4\n", r'line 3: "users" is given twice'),
        ("environment: lab\ntarget: {replay: x, auth_url: y}\n", r"line 2: \"target\.replay\" stands alone"),
        ("environment: lab\nseed: 2026-13-45\n", r"line 2|not YAML"),
    ],
)
def test_what_is_no_parameter_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameters(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(b"\xff\xfe\x00environment")
    with pytest.raises(ParameterError, match=r"odd\.yaml: not text in UTF-8"):
        read_parameters(path)


# References


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("", r'line 5: "target\.database_url" cannot be resolved: the environment variable STAGING_DATABASE_URL'),
        (
            "  headers: {X-Api-Key: 'env:NOWHERE_KEY'}\n",
            r'line 6: "target\.headers\.X-Api-Key" cannot be resolved: the environment variable NOWHERE_KEY is not set',
        ),
        (ACCOUNTS.replace("FIRST", "PATH"), r'line 8: "target\.accounts\.1\.password" cannot be resolved: .* SECOND'),
        ("  jwt_secret: keyring:netra/nobody\n", r'line 6: "target\.jwt_secret" cannot be resolved: (no|the) keyring'),
        ("  jwt_secret: env:NETRA_TINY\n", r'line 6: "target\.jwt_secret" is too short to be kept out of recordings'),
    ],
)
def test_a_reference_to_nothing_names_file_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, place: str
) -> None:
    monkeypatch.delenv("STAGING_DATABASE_URL", raising=False)
    monkeypatch.setenv("NETRA_TINY", "abc")
    text = STAGING.replace("users: 10\n", f"{more}users: 10\n")
    if more:
        monkeypatch.setenv("SOME_DATABASE_URL", "postgresql://db.example/netra")
        text = text.replace("env:STAGING_DATABASE_URL", "env:SOME_DATABASE_URL")
    path = written(tmp_path, text)
    assert read_parameters(path).environment == "staging"
    with pytest.raises(ParameterError, match=place) as caught:
        read_parameters(path, resolve=True)
    assert str(caught.value).startswith(str(path))


def test_a_variable_of_almost_that_name_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAGING_DATABASE_URL", raising=False)
    monkeypatch.setenv("STAGING_DATABSE_URL", "postgresql://db.example/netra")
    with pytest.raises(ParameterError, match=r'did you mean "STAGING_DATABSE_URL"\?') as caught:
        read_parameters(written(tmp_path, STAGING), resolve=True)
    assert "db.example" not in str(caught.value)


def test_what_was_given_by_p_is_blamed_on_p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, STAGING)
    there = {"auth_url": "https://a.example", "backend_urls": ["https://b.example"]}
    with pytest.raises(ParameterError, match=r'^-p users: "users" input should be'):
        read_parameters(path, {"users": "many"})
    with pytest.raises(ParameterError, match=r'^-p target: "target\.jwt_secret" must be a reference') as caught:
        read_parameters(path, {"target": {**there, "jwt_secret": "hunter2hunter2"}})
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("NOWHERE_KEY", raising=False)
    with pytest.raises(ParameterError, match=r'^-p target: "target\.jwt_secret" cannot be resolved: .*NOWHERE_KEY'):
        read_parameters(path, {"target": {**there, "jwt_secret": "env:NOWHERE_KEY"}}, resolve=True)


async def test_a_notebook_that_was_given_a_file_by_stock_papermill_blames_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Papermill hands over values without their place; where the environment's file has them they are found in it."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(SCENARIOS.files()["C4"], tmp_path / "notebooks")
    (tmp_path / "parameters").mkdir()
    path = written(tmp_path / "parameters", STAGING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAGING_DATABASE_URL", raising=False)
    given = read_parameters(path).target
    with pytest.raises(ParameterError, match=r'staging\.yaml, line 5: "target\.database_url" cannot be resolved'):
        await investigate("C4", environment="staging", target=given)
    other = {**given, "database_url": "env:NOWHERE_ELSE"}
    with pytest.raises(ParameterError, match=r'^environment staging: "target\.database_url" cannot be resolved'):
        await investigate("C4", environment="staging", target=other)
    with pytest.raises(ParameterError, match=r'^environment staging: unknown key "target\.redisurl"; .*"redis_url"\?'):
        await investigate("C4", environment="staging", target={**given, "redisurl": "env:X"})


@pytest.mark.parametrize("command", [["run", "C4"], ["doctor"]])
def test_a_reference_to_nothing_stops_a_command_before_anything_is_sent(command: list[str], tmp_path: Path) -> None:
    path = write_parameters(tmp_path, target={"jwt_secret": "env:NOWHERE_KEY"})
    ended = netra_probe(*command, "--parameters", str(path), NETRA_PROBE_OUTPUTS=str(tmp_path / "outputs"))
    assert ended.returncode == 2
    assert '"target.jwt_secret" cannot be resolved: the environment variable NOWHERE_KEY is not set' in ended.stderr
    assert "blind.yaml, line " in ended.stderr
    assert not (tmp_path / "outputs").exists()


# What the optional keys do


async def test_extra_headers_go_with_every_request_and_handshake_and_into_no_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_KEY", "edge-key-value")
    seen: list[tuple[str, str]] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"type":"system_message","data":{"event":"connection_established"}}')
        await connection.wait_closed()

    def asked(connection: ServerConnection, request: Request) -> Response | None:
        seen.append((request.path, request.headers.get("X-Edge-Key", "")))
        return None if request.path == "/ws" else connection.respond(200, request.headers.get("X-Edge-Key", ""))

    async with serve(handler, "127.0.0.1", 0, process_request=asked) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        target = read_target(
            {"auth_url": url, "backend_urls": [url], "headers": {"X-Edge-Key": "env:EDGE_KEY"}}, where="here"
        )
        history = Recorder(tmp_path / "history.jsonl")
        history.redactor.know("edge-key-value", "headers")
        wire = LiveTransport(target, history, Timeouts())
        http = wire.http(url, surface="rest")
        assert await http.request("GET", "/health", anonymous=True)
        opened = await wire.open(Handshake(name="alice/ws-1", user="alice", backend=0, token=None))
        assert isinstance(opened, Socket)
        await opened.close()
        await http.close()
        history.close()
    assert seen == [("/health", "edge-key-value"), ("/ws", "edge-key-value")]
    assert "edge-key-value" not in "".join(f"{operation.payload}{operation.detail}" for operation in history)


@dataclass(frozen=True)
class Certificates:
    """PEM files of an authority, and of a server and a client that it vouches for."""

    authority: Path
    server: Path
    client: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.now(UTC)

    def issue(name: str, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signing = (signer[0].subject, signer[1]) if signer else (subject, key)
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(signing, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = made.public_bytes(serialization.Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(public if signer is None else public + private)
        return made, key

    authority = issue("authority", None)
    issue("server", authority)
    issue("client", authority)
    return Certificates(*(folder / f"{name}.pem" for name in ("authority", "server", "client")))


@pytest.mark.parametrize(
    ("keys", "is_let_in"),
    [
        ({}, False),
        ({"ca_bundle": "authority"}, False),
        ({"ca_bundle": "authority", "client_certificate": "client"}, True),
        ({"verify_tls": False, "client_certificate": "client"}, True),
    ],
)
async def test_tls_options_hold_for_requests_and_sockets(
    tmp_path: Path, certificates: Certificates, keys: dict[str, Any], is_let_in: bool
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"type":"system_message","data":{"event":"connection_established"}}')
        await connection.wait_closed()

    def asked(connection: ServerConnection, request: Request) -> Response | None:
        return None if request.path == "/ws" else connection.respond(200, "fine")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    given = {key: str(getattr(certificates, value)) if isinstance(value, str) else value for key, value in keys.items()}
    async with serve(handler, "127.0.0.1", 0, process_request=asked, ssl=context) as server:
        url = f"https://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        target = read_target({"auth_url": url, "backend_urls": [url], **given}, where="here")
        history = Recorder(tmp_path / "history.jsonl")
        wire = LiveTransport(target, history, Timeouts())
        http = wire.http(url, surface="rest")
        answered = await http.request("GET", "/health", anonymous=True)
        opened = await wire.open(Handshake(name="alice/ws-1", user="alice", backend=0, token=None))
        if isinstance(opened, Socket):
            await opened.close()
        await http.close()
        history.close()
    assert (bool(answered), isinstance(opened, Socket)) == (is_let_in, is_let_in)


def test_a_bundle_without_certificates_names_file_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of that kind\n")
    text = STAGING.replace("database_url: env:STAGING_DATABASE_URL", f"ca_bundle: {tmp_path / 'ca.pem'}")
    with pytest.raises(ParameterError, match=r"staging\.yaml, line 5: target\.ca_bundle: .* holds no certificates"):
        read_parameters(written(tmp_path, text), resolve=True)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("POTS /api/x", 'did you mean "POST"?'),
        ("/api/x", "write a method and a path"),
        ("POST", "write a method and a path"),
        ("POST api/x", 'a path begins with "/"'),
        ("GET https://a.example/x", "give the path only"),
        ("GET /api/x**", "** stands for whole parts of a path"),
    ],
)
def test_an_operation_pattern_that_is_none_says_what_is_wrong(pattern: str, problem: str) -> None:
    values = {"auth_url": "http://a.example", "backend_urls": ["http://a.example"], "never": [pattern]}
    with pytest.raises(ParameterError) as raised:
        read_target(values, where="staging.yaml")
    assert problem in str(raised.value)
    assert "target.never" in str(raised.value)
