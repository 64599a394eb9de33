"""A private MariaDB server."""

from __future__ import annotations

from pathlib import Path

from tests.services.process import Server, ServiceError, run_tool, unprivileged_user

# mariadbd reads one statement per line.
ACCOUNT = """\
CREATE USER IF NOT EXISTS 'django_jobs'@'127.0.0.1';
GRANT ALL ON *.* TO 'django_jobs'@'127.0.0.1';
CREATE DATABASE IF NOT EXISTS django_jobs CHARACTER SET utf8mb4;
"""


class MariaDBServer(Server):
    """Run one mariadbd, without durable commits unless the arguments ask for them."""

    name = "MariaDB"

    def __init__(self, binary: Path, port: int | None, directory: Path, *extra_args: str) -> None:
        super().__init__(port=port, directory=directory, user=unprivileged_user("mysql", "nobody"))
        self.binary = binary
        self.extra_args = extra_args

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def prepare(self) -> None:
        self.own(self.directory)
        (self.directory / "account.sql").write_text(ACCOUNT)
        if (self.data / "mysql").exists():
            return
        installer = next((path for path in self.installers() if path.exists()), None)
        if installer is None:
            raise ServiceError("mariadb-install-db is not there")
        options = [f"--datadir={self.data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        self.own(self.data)
        run_tool([str(installer), "--no-defaults", *options], user=self.user, cwd=self.directory)

    def installers(self) -> list[Path]:
        folders = [self.binary.parent, Path("/usr/bin"), Path("/usr/local/bin"), self.binary.parent.parent / "scripts"]
        return [folder / name for folder in folders for name in ("mariadb-install-db", "mysql_install_db")]

    def command(self) -> list[str]:
        return [
            str(self.binary),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.directory / 'mariadb.sock'}",
            f"--pid-file={self.directory / 'mariadb.pid'}",
            f"--init-file={self.directory / 'account.sql'}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--max-connections=200",
            *self.extra_args,
        ]

    def is_ready(self) -> bool:
        import pymysql

        try:
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="django_jobs",
                connect_timeout=5,
                read_timeout=5,  # somebody else may have taken the port, and say nothing
                write_timeout=5,
            ).close()
        except pymysql.MySQLError:
            return False
        return True

    @property
    def url(self) -> str:
        return f"mysql://django_jobs@127.0.0.1:{self.port}/django_jobs"
