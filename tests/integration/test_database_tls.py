"""The connection to the database verifies the server's certificate by default."""

import datetime
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.processes.postgres import PostgresServer
from masstock.database import authorities
from masstock.database.connection import Database
from masstock.errors import DatabaseUnavailable
from tests.support.databases import connected

NAME = "db.example.test"
ASK = [("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", {})]


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def sign(
    name: str, key: ec.EllipticCurvePrivateKey, by: Authority | None = None
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(by.key if by else key, hashes.SHA256())


def new_authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, sign(name, key))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("the tests' authority")


@pytest.fixture(scope="module")
def encrypted(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with a certificate for NAME. `hostaddr` gives its real address."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + sign(NAME, key, authority).public_bytes(serialization.Encoding.PEM)
    postgres = PostgresServer(tmp_path_factory.mktemp("encrypted"), fsync=False)
    try:
        url = postgres.start()
        with connected(url) as connection:
            # The server writes the file, so that its account is the only one that can read it.
            [(directory,)] = connection.execute("SHOW data_directory").fetchall()
            connection.execute("CREATE TABLE pair (n serial, line text)")
            for line in pair.decode().splitlines():
                connection.execute("INSERT INTO pair (line) VALUES (%s)", [line])
            path = f"{directory}/pair.pem"
            lines = "SELECT line FROM pair ORDER BY n"
            connection.execute(f"COPY ({lines}) TO PROGRAM 'umask 077; cat > {path}'".encode())
            connection.execute(f"ALTER SYSTEM SET ssl_cert_file = '{path}'".encode())
            connection.execute(f"ALTER SYSTEM SET ssl_key_file = '{path}'".encode())
            connection.execute("ALTER SYSTEM SET ssl = on")
            connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while not encrypts(url):
            assert time.monotonic() < deadline
        yield url.replace("127.0.0.1", NAME) + "?hostaddr=127.0.0.1"
    finally:
        postgres.destroy()


def encrypts(url: str) -> bool:
    """True after the server has reloaded its settings."""
    with connected(url) as connection:
        return connection.execute("SHOW ssl").fetchall() == [("on",)]


def answers(url: str, vault: dict[str, str]) -> list[list[dict[str, object]]]:
    vault["tls"] = url
    database = Database("tls")
    try:
        return database.flight(ASK)  # type: ignore[arg-type]
    finally:
        database.close()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `authority` the provider's authority for every host."""
    path = tmp_path / "authority.pem"
    path.write_bytes(authority.pem())
    monkeypatch.setattr("masstock.database.connection.authority_of", lambda host: str(path))
    return path


def test_a_database_with_a_valid_certificate_is_trusted(
    encrypted: str, trusting: Path, vault: dict[str, str]
) -> None:
    assert answers(encrypted, vault) == [[{"ssl": True}]]


def test_an_authority_named_in_the_url_is_trusted(
    encrypted: str, authority: Authority, vault: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(authority.pem())
    assert answers(f"{encrypted}&sslrootcert={path}", vault) == [[{"ssl": True}]]


@pytest.mark.parametrize("provider", ["db.abc.supabase.co", "x.eu-west-1.rds.amazonaws.com"])
def test_a_certificate_of_another_authority_is_refused(
    encrypted: str, provider: str, vault: dict[str, str]
) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        answers(encrypted.replace(NAME, provider), vault)
    assert "certificate verify failed" in str(refused.value.__cause__)


def test_a_certificate_for_another_name_is_refused(
    encrypted: str, trusting: Path, vault: dict[str, str]
) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        answers(encrypted.replace(NAME, "other.example.test"), vault)
    assert 'does not match host name "other.example.test"' in str(refused.value.__cause__)


def test_a_database_without_tls_is_refused(
    server: object, database: object, trusting: Path, vault: dict[str, str]
) -> None:
    url = database.api.replace("127.0.0.1", NAME)  # type: ignore[attr-defined]
    with pytest.raises(DatabaseUnavailable) as refused:
        answers(f"{url}?hostaddr=127.0.0.1", vault)
    assert "server does not support SSL" in str(refused.value.__cause__)


def test_the_url_can_lower_the_verification(encrypted: str, vault: dict[str, str]) -> None:
    assert answers(f"{encrypted}&sslmode=require", vault) == [[{"ssl": True}]]


def test_a_name_that_resolves_to_this_machine_still_needs_a_certificate(
    encrypted: str, vault: dict[str, str]
) -> None:
    address_only = encrypted.replace(NAME, "").replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(DatabaseUnavailable):
        answers(address_only, vault)


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "::1", "/run/postgresql"])
def test_this_machine_needs_no_certificate(host: str) -> None:
    assert authorities.is_on_this_machine(host)


@pytest.mark.parametrize(
    ("host", "file"),
    [
        ("db.abcdefgh.supabase.co", "supabase.pem"),
        ("aws-0-eu-west-1.pooler.supabase.com", "supabase.pem"),
        ("masstock.abc123.eu-west-1.rds.amazonaws.com", "rds-eu-west-1.pem"),
        ("masstock.cluster-abc123.us-east-2.rds.amazonaws.com", "rds-us-east-2.pem"),
        ("masstock.proxy-abc123.eu-west-1.rds.amazonaws.com", "amazon.pem"),
    ],
)
def test_a_providers_host_selects_its_authority(host: str, file: str) -> None:
    assert Path(authorities.authority_of(host)).name == file


@pytest.mark.parametrize(
    "host", ["db.example.com", "supabase.co.example.com", "x.rds.amazonaws.com.example.com"]
)
def test_other_hosts_use_the_public_authorities(host: str) -> None:
    assert Path(authorities.authority_of(host)).parent != Path(authorities.__file__).parent


# One of Amazon's certificates has the serial number zero.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_packaged_authority_is_valid_for_180_days() -> None:
    """Fails 180 days before a certificate expires. The first one expires in 2031."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=180)
    files = sorted(Path(authorities.__file__).parent.glob("*.pem"))
    assert len(files) > 25
    for path in files:
        # libpq loads it in the same way.
        ssl.create_default_context(cafile=str(path))
        found = x509.load_pem_x509_certificates(path.read_bytes())
        assert found
        for certificate in found:
            assert certificate.not_valid_after_utc > soon, path.name
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            assert constraints.value.ca
            certificate.verify_directly_issued_by(certificate)
            [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            region = path.stem.removeprefix("rds-")
            assert (region in str(name.value)) == path.stem.startswith("rds-"), path.name


def test_supabases_authority_is_the_one_of_its_dashboard() -> None:
    path = Path(authorities.__file__).parent / "supabase.pem"
    [certificate] = x509.load_pem_x509_certificates(path.read_bytes())
    sha1 = certificate.fingerprint(hashes.SHA1()).hex()
    assert sha1 == "a4518a0933af6949482cca3014c007c369df9f6f"


def test_psycopg_alone_does_not_verify_the_certificate(encrypted: str) -> None:
    """The tests above need this: psycopg alone connects without checking the certificate."""
    with psycopg.connect(encrypted.replace(NAME, "anything")) as connection:
        assert connection.info.host == "anything"
