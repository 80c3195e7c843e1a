"""One SQLite file: how it is made, opened, read and written, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from streams.contract import BrokerError, StorageFull

APPLICATION_ID = 0x66456172  # "fEar": the file is ours
FORMAT = 1
PAGE_BYTES = 16_384  # measured with windows of 64 kB: larger pages write slower, smaller ones read slower
WAL_PAGES = 1_000  # 16 MB in the write-ahead log, then it is copied into the file and begun anew
WAL_KEPT_BYTES = 64 * 1024 * 1024  # a log that a long reader let grow is cut back to this
CACHE_KIB = 512  # pages in memory per open file; SQLite's own 2 MB would fill within hours, in a dozen files at once
BUSY_S = 30.0

# What a file system says that can store no more: SQLite calls only ENOSPC "full"; a quota, a size limit and
# the file of shared memory come as write errors.
_FULL = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REMEDY = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the line, move it away and keep it; what it held is lost",
    sqlite3.SQLITE_NOTADB: "this is no file of factory-ear: move it away or use another folder",
    sqlite3.SQLITE_BUSY: f"another process held it for {BUSY_S:.0f} s: try again; stop the one that hangs",
    sqlite3.SQLITE_READONLY: "cannot write there: give this user the right to write to the folder and its files",
    sqlite3.SQLITE_CANTOPEN: "cannot open it: see that the folder exists, its rights and the limit of open files",
    sqlite3.SQLITE_PERM: "cannot open it: give this user the right to write to the folder and its files",
}


def in_words(error: Exception, path: Path) -> BrokerError:
    """What SQLite or the system said of `path`, as an error of the contract."""
    code = getattr(error, "sqlite_errorcode", 0)
    primary = code & 0xFF
    no_room = primary == sqlite3.SQLITE_FULL or code in _FULL
    if no_room or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        return StorageFull(f"{path}: {error}. Nothing accepted is lost; free some space, intake then goes on")
    return BrokerError(f"{path}: {error}. {_REMEDY.get(primary, 'Look at the disk and the rights of the folder')}")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system into BrokerError and StorageFull that name `path`."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # our own mistake, such as use after close
    except (sqlite3.DatabaseError, OSError) as error:
        raise in_words(error, path) from error


class Database:
    """One open file. Every read ends its transaction at once: a reader that lingers would let the log grow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with told(path):
            self._connection = sqlite3.connect(
                path.absolute().as_uri() + "?mode=rw",
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,  # transactions begin and end where this file says so
                check_same_thread=False,
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        def pragma(text: str) -> object:
            row = self._connection.execute(f"PRAGMA {text}").fetchone()
            return row[0] if row else None

        mark, version = pragma("application_id"), pragma("user_version")
        if mark != APPLICATION_ID:
            raise BrokerError(f"{self.path}: an SQLite file of another program. Move it away or use another folder")
        if version != FORMAT:
            raise BrokerError(
                f"{self.path}: format {version}, this version reads {FORMAT}. Use the version that made it"
            )
        pragma("synchronous=FULL")
        pragma(f"cache_size={-CACHE_KIB}")
        pragma(f"wal_autocheckpoint={WAL_PAGES}")
        pragma(f"journal_size_limit={WAL_KEPT_BYTES}")

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file for several queries; fetch all rows inside."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """The only writer of the file until the block ends; all of it is stored, or nothing.

        With `durable` the disk has it when the block ends. Without, loss of power may take the last such blocks,
        never the order; `kill -9` takes none.
        """
        with told(self.path):
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with told(self.path):
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise

    def size_bytes(self) -> int:
        """How large the file is with all that is still in its log."""
        with told(self.path):
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        return int(pages) * PAGE_BYTES

    def trim(self) -> None:
        """Cut a log that a long reader let grow, unless somebody reads just now."""
        wal = self.path.with_name(self.path.name + "-wal")
        with told(self.path):
            if not wal.exists() or wal.stat().st_size <= WAL_KEPT_BYTES:
                return
            self._connection.execute("PRAGMA busy_timeout=100")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def build(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make a file with what `fill` writes, whole or not at all; where another process was first, its file stays."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with told(path):
        try:
            _write_new(temporary, fill)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            sync_folder(path.parent)
        except (sqlite3.DatabaseError, OSError):
            if not path.exists():  # else another process finished first, and that is as good
                raise
        finally:
            temporary.unlink(missing_ok=True)


def _write_new(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        fill(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")  # the file remembers it


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unlink(path: Path) -> None:
    """Remove a file with its log and shared memory; who has it open reads on."""
    with told(path):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
