"""One run of the Faust application, in a thread of its own with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import faust
from faust.types import TP, EventT

from streams.faust_app.app import Intake, build_app
from streams.kafka.clients import quiet
from streams.kafka.connection import Connection

STOP_S = 10.0  # Faust may take so long to stop in order; then its thread is left behind and told to end
LOOK_S = 0.2
_logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Batch:
    """Events that Faust handed over. `done` lets Faust go on."""

    events: Sequence[EventT[Any]]
    generation: int
    done: asyncio.Event


class Session:
    """Faust from start to end. It ends by itself when Faust crashes or when a batch is not done within `lease_s`."""

    def __init__(self, connection: Connection, intake: Intake, lease_s: float) -> None:
        quiet("aiokafka", "faust", "mode")
        self._connection = connection
        self._intake = intake
        self._lease_s = lease_s
        self._batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: faust.App | None = None
        self._leave = threading.Event()
        self.ended = threading.Event()
        self.why = ""
        self._thread = threading.Thread(target=self._run, name="faust", daemon=True)
        self._thread.start()

    @property
    def generation(self) -> int:
        """The group's generation as this member knows it; -1 before it is in."""
        return int(self._app.consumer_generation_id) if self._app else -1

    @property
    def assigned(self) -> frozenset[TP]:
        """The partitions that the group has granted."""
        app = self._app
        if app is None or self.ended.is_set():
            return frozenset()
        try:
            return frozenset(app.consumer.assignment())
        except Exception:  # noqa: BLE001  # before it has started and while it stops Faust raises whatever it likes
            return frozenset()

    def take(self, timeout_s: float) -> Batch | None:
        """The next batch, or None after `timeout_s`."""
        try:
            return self._batches.get(timeout=timeout_s) if timeout_s > 0 else self._batches.get_nowait()
        except queue.Empty:
            return None

    def acknowledge(self, batch: Batch, timeout_s: float) -> bool:
        """Commit a batch and let Faust go on; False where the group refused or Faust is gone."""
        return bool(self._call(self._acknowledge(batch), timeout_s))

    def drop(self, batch: Batch) -> None:
        """Let Faust go on without a commit."""
        loop = self._loop
        if loop and not self.ended.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has closed in between
                loop.call_soon_threadsafe(batch.done.set)

    def stop(self) -> bool:
        """Leave the group and end. False where Faust did not stop in time and its thread is left behind."""
        self._leave.set()
        self._thread.join(STOP_S + 2.0)
        return not self._thread.is_alive()

    # -- inside the thread

    def _run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="factory-ear-faust-"))
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._live(folder))
        except Exception as error:
            _logger.exception("Faust ended")
            self.why = self.why or repr(error)
        finally:
            self.ended.set()
            with contextlib.suppress(Exception):
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            shutil.rmtree(folder, ignore_errors=True)

    async def _live(self, folder: Path) -> None:
        app = build_app(self._connection, self._intake, folder, self._hand_over)
        self._app = app
        starting = asyncio.ensure_future(app.start())
        while not (self._leave.is_set() or app.crashed or self.why or (starting.done() and starting.exception())):
            await asyncio.sleep(LOOK_S)
        if app.crashed:
            self.why = self.why or f"Faust crashed: {app.crash_reason!r}"
        elif starting.done() and starting.exception():
            self.why = self.why or f"Faust did not start: {starting.exception()!r}"
        starting.cancel()
        self.ended.set()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(app.stop(), STOP_S)

    async def _hand_over(self, events: Sequence[EventT[Any]]) -> None:
        batch = Batch(events, self.generation, asyncio.Event())
        self._batches.put(batch)
        try:
            await asyncio.wait_for(batch.done.wait(), self._lease_s)
        except TimeoutError:
            # Whoever works on it hangs: leave the group, so that another worker takes over.
            self.why = f"a batch was not done within {self._lease_s:.0f} s"

    async def _acknowledge(self, batch: Batch) -> bool:
        app = self._app
        if app is None or batch.generation != self.generation:
            return False
        for event in batch.events:
            event.ack()
        committed = await app.consumer.commit()
        batch.done.set()
        return bool(committed) and batch.generation == self.generation

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T | None:
        loop = self._loop
        if loop is None or self.ended.is_set():
            work.close()
            return None
        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)
        except (TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            self.why = self.why or f"a commit did not end within {timeout_s:.0f} s: {error!r}"
            return None


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=2.0))
