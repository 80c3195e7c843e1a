"""What commands say on a terminal: lines and progress, quiet when nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import typer

T = TypeVar("T")
Step = Callable[[Sequence[T]], Iterable[T]]


def say(text: str, *, quiet: bool = False) -> None:
    """One line on standard output, unless `quiet`."""
    if not quiet:
        typer.echo(text)


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Callable[[Sequence[T]], Iterable[T]]]:
    """A progress bar over a sequence where standard error is a terminal; otherwise the sequence itself."""
    if quiet or not sys.stderr.isatty():
        yield lambda items: items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield lambda items: bar.track(items, description=what)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; numbers as the caller wrote them."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(*columns, title=title, title_justify="left")
    for row in rows:
        grid.add_row(*(escape(cell) for cell in row))  # a cell may hold square brackets of its own
    Console(width=None if sys.stdout.isatty() else 140).print(grid)


def warn(text: str) -> None:
    """One line on standard error, at once."""
    sys.stderr.write(f"factory-ear: {text}\n")
    sys.stderr.flush()
