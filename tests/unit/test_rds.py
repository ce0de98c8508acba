"""Sign-in to RDS: the token is boto3's, each connection has a new one, and no other server gets to see it."""

from __future__ import annotations

import itertools
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import boto3
import pytest
from botocore.exceptions import NoCredentialsError, NoRegionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lib.aws import rds
from lib.aws.rds import sign_in_token
from lib.config import ROOT
from lib.postgres.database import Database, Session, connect
from lib.postgres.errors import DatabaseUnavailable

ROOTS = x509.load_pem_x509_certificates((ROOT / "db/rds-roots.pem").read_bytes())
ASK_FOR_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
REFUSE = b"E\x00\x00\x00\x15SFATAL\x00C28P01\x00\x00\x00"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary credentials, as a task or a function has them."""
    rds._session.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abc/+=")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session/+=")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    yield
    rds._session.cache_clear()


class TlsServer:
    """A Postgres for `localhost` that speaks TLS, asks for a password, keeps it, and refuses it."""

    def __init__(self, folder: Path, *, name: str = "localhost") -> None:
        self.passwords: list[str] = []
        self.certificate = folder / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        subject, today = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(private)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, folder / "key.pem")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql+iam://cruddur_api@localhost:{self._socket.getsockname()[1]}/cruddur?hostaddr=127.0.0.1"
        Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            with suppress(OSError), self._socket.accept()[0] as plain:
                plain.settimeout(5)
                plain.recv(8)  # the request to speak TLS
                plain.sendall(b"S")
                with self._tls.wrap_socket(plain, server_side=True) as client:
                    client.recv(4096)  # the startup message
                    client.sendall(ASK_FOR_PASSWORD)
                    if password := client.recv(4096):
                        self.passwords.append(password[5:-1].decode())
                    client.sendall(REFUSE)
            if self._socket.fileno() < 0:
                return


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    """A server with a certificate that the process trusts."""
    server = TlsServer(tmp_path)
    monkeypatch.setattr("lib.postgres.database_url._ROOTS", server.certificate)
    yield server
    server.close()


def test_token_is_equal_to_that_of_boto3() -> None:
    client = boto3.Session().client("rds")
    for _ in range(3):  # the second may change between the two
        expected = client.generate_db_auth_token("db.abc.eu-west-1.rds.amazonaws.com", 5432, "cruddur_api")
        token = sign_in_token("db.abc.eu-west-1.rds.amazonaws.com", 5432, "cruddur_api")
        if token == expected:
            break
    assert token == expected
    assert "X-Amz-Expires=900" in token


def test_each_connection_signs_in_with_a_new_token(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count(1)
    monkeypatch.setattr("lib.postgres.database_url.sign_in_token", lambda *names: f"{names[2]} {next(numbers)}")
    with Database(server.url) as database:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                database.all("users/all")
    for open_connection in (lambda: Session(server.url).execute("users/all"), lambda: connect(server.url).__enter__()):
        with pytest.raises(DatabaseUnavailable):
            open_connection()
    assert server.passwords == [f"cruddur_api {number}" for number in range(1, 5)]


def test_token_is_a_signature_of_the_host_and_the_user(server: TlsServer) -> None:
    with pytest.raises(DatabaseUnavailable), connect(server.url):
        pass
    port = re.findall(r":(\d+)/", server.url)[0]
    assert server.passwords[0].startswith(f"localhost:{port}/?Action=connect&DBUser=cruddur_api&X-Amz-Algorithm=")


@pytest.mark.parametrize("case", ["unknown root", "another host"])
def test_server_without_the_right_certificate_sees_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    server = TlsServer(tmp_path, name="localhost" if case == "unknown root" else "db.example.com")
    if case == "another host":
        monkeypatch.setattr("lib.postgres.database_url._ROOTS", server.certificate)
    with pytest.raises(DatabaseUnavailable, match="certificate"), connect(f"{server.url}&sslmode=disable"):
        pass
    assert server.passwords == []
    server.close()


def test_missing_credentials_and_region_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("botocore.session.Session.get_credentials", lambda session: None)
        with pytest.raises(NoCredentialsError):
            sign_in_token("localhost", 5432, "cruddur_api")
    rds._session.cache_clear()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(NoRegionError):
        sign_in_token("localhost", 5432, "cruddur_api")


@pytest.mark.parametrize("address", ["localhost:99999", "one:1,two:2"])
def test_port_that_is_none_is_an_error_of_the_connection(address: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="no token"), connect(f"postgresql+iam://cruddur_api@{address}/db"):
        pass


def test_roots_are_those_of_rds_and_valid_for_years() -> None:
    names = [root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for root in ROOTS]
    assert all(re.fullmatch(r"Amazon RDS [a-z0-9-]+ Root CA RSA2048 G1", str(name)) for name in names)
    assert len(names) == len(set(names)) > 20
    for root in ROOTS:
        root.verify_directly_issued_by(root)
        assert root.not_valid_after_utc.year > 2060
