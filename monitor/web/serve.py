"""The page's thread: its own event loop, TLS where a certificate is set, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path

from aiohttp import web

from monitor.errors import WorkFailed

START_S = 30.0


def tls(certfile: Path | None, keyfile: Path | None) -> ssl.SSLContext | None:
    """The context of a server with this certificate, TLS 1.2 or newer. Raises WorkFailed for files that do not fit."""
    if certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        raise WorkFailed(
            f"page: certificate {certfile} with key {keyfile} cannot be used ({error}); give PEM files that fit"
        ) from error
    return context


class WebThread:
    """Serves an application until `close`. `start` returns the address, also where the port was left open (0)."""

    def __init__(self, app: web.Application, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._app, self._host, self._port, self._context = app, host, port, context
        self._loop = asyncio.new_event_loop()
        self._done: asyncio.Event | None = None
        self._bound = threading.Event()
        self._url = ""
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> str:
        """Bind and serve; the page's URL. Raises WorkFailed where the address cannot be had."""
        self._thread.start()
        if not self._bound.wait(START_S):
            raise WorkFailed(f"page: nothing was served within {START_S:.0f} s at {self._host}:{self._port}; try again")
        if self._error is not None:
            self._thread.join()
            raise WorkFailed(
                f"page: {self._host}:{self._port} cannot be served ({self._error.strerror or self._error}); "
                "is the line running already? else choose another [web] host or port"
            ) from self._error
        return self._url

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._context).start()
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._url = f"{'https' if self._context else 'http'}://{host}:{runner.addresses[0][1]}/"
        except OSError as error:
            self._error = error
            self._done.set()
        self._bound.set()
        await self._done.wait()
        await runner.cleanup()

    def close(self) -> None:
        """Stop serving and wait for the thread."""
        if self._thread.is_alive() and self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10.0)
