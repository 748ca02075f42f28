"""uvicorn's server and its workers, with an end in good order; see `gateway.core.drain`.

The first SIGTERM or SIGINT begins it, the second one ends the process at once. Who ends in good
order exits with 0.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.core.accepting import ACCEPTING, Accepting
from gateway.core.drain import DRAIN, Drain
from gateway.reload import Terminal

_START_SECONDS_MAX = 30.0
_JOIN_SECONDS = 0.1
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_HURRY_SECONDS = 1.0
_HURRY = signal.SIGQUIT  # from the supervisor to its workers; see `Workers`

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Drains before uvicorn's own shutdown, whose deadline is the last word.

    A worker of several hears the signals of its supervisor only: a terminal sends SIGINT and
    systemd sends SIGTERM to all processes of a service, and the supervisor sends it on to them.
    What is the same wish twice must not be taken for the second one.
    """

    def __init__(self, config: uvicorn.Config, *, is_worker: bool = False) -> None:
        super().__init__(config)
        self._is_worker = is_worker
        self._drain: Drain | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        state: dict[str, Any] = self.lifespan.state
        self._drain = state.get(DRAIN)
        if self._drain is not None:
            self._drain.attach()
        if ACCEPTING in state:
            _watch_accepting(asyncio.get_running_loop(), state[ACCEPTING])

    async def on_tick(self, counter: int) -> bool:
        is_to_stop = await super().on_tick(counter)
        drain = self._drain
        if drain is None or self.force_exit:
            return is_to_stop
        if is_to_stop:
            drain.begin()
        if not drain.has_begun:
            return False
        is_done = drain.advance()
        if drain.is_closing:
            for server in self.servers:
                server.close()
        return is_done

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            # uvicorn leaves the application as it is, which then ends with a traceback.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HURRY_SECONDS):
                    await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would remember the signal, and end the process by it when all is done.
        is_repeated = self._is_worker and sig == signal.SIGTERM
        if self.should_exit and not is_repeated:
            self.hurry()
        self.should_exit = True

    def hurry(self, *_: object) -> None:
        """End at once, without waiting for anybody."""
        self.should_exit = self.force_exit = True
        for server in getattr(self, "servers", ()):
            # From Python 3.12 on a server that is closed waits for its clients.
            getattr(server, "abort_clients", lambda: None)()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            if self._is_worker:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(_HURRY, self.hurry)
            yield


class Worker(Process):
    """One process of several."""

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = Server(self.config, is_worker=True)
        assert isinstance(self._server, Server)
        return self._server


class Workers(Multiprocess):
    """The processes of one gateway; each drains by itself, and one that has ended is replaced.

    SIGHUP reaches each of them, and ends none: uvicorn would start new ones in their place, and
    drop every socket.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._terminal = Terminal()
        self._stops = 0

    @property
    def is_hurried(self) -> bool:
        return self._stops > 1

    # uvicorn's own methods make processes with a server of its own.

    def init_processes(self) -> None:
        self.processes += [self._start_one() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()  # it hangs, or has ended already
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                logger.error("a worker could not start, so the gateway stops")
                self.should_exit.set()
                return
            logger.info("worker %s has ended; another one starts", process.pid)
            self.processes[index] = self._start_one()

    def handle_ttin(self) -> None:
        self.processes_num += 1
        self.processes.append(self._start_one())

    def _start_one(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    # Signals.

    def handle_int(self) -> None:
        self._stops += 1
        self.should_exit.set()

    def handle_term(self) -> None:
        self.handle_int()

    def handle_hup(self) -> None:
        if self._terminal.is_gone:
            self.should_exit.set()
            return
        for process in self.processes:
            # Before it is ready it would not hear it, or die of it.
            if process.wait_until_ready(_START_SECONDS_MAX, self.should_exit) and process.pid:
                os.kill(process.pid, signal.SIGHUP)

    def join_all(self) -> None:
        """Wait for all, and go on listening: a second signal hurries them."""
        while any(process.process.is_alive() for process in self.processes):
            for process in self.processes:
                process.process.join(_JOIN_SECONDS)
            self.handle_signals()
            if self.is_hurried:
                self._hurry_all()
        super().join_all()

    def _hurry_all(self) -> None:
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                os.kill(process.pid, _HURRY)


def _watch_accepting(loop: asyncio.AbstractEventLoop, accepting: Accepting) -> None:
    """Say in one line now and then what asyncio says with a traceback at every try."""

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        is_accept = "accept" in context.get("message", "")
        if is_accept and isinstance(error, OSError) and error.errno in _NO_RESOURCES:
            accepting.failed(os.strerror(error.errno or 0).lower())
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(heard)
