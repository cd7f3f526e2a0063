"""Where a run's waiting is done: one thread for IO nodes, and an event loop for async ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_SECONDS_TO_END = 10.0


class Workers(Generic[T]):
    """Runs work beside the caller, and hands back each piece with its future once it is done.

    IO work is done one piece after the other, in the order given, so that files numbered as they are written keep
    the order of the run. Threads are started when they are first needed, and ended with the `with` block.
    """

    def __init__(self) -> None:
        self._done: SimpleQueue[tuple[T, Future[None]]] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._futures: dict[Future[None], T] = {}

    def __enter__(self) -> Workers[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        if self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __len__(self) -> int:
        """How many pieces have not been handed back yet."""
        return len(self._futures)

    def in_thread(self, piece: T, work: Callable[[], None]) -> None:
        """Do `work` in the IO thread, for `piece`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weft-io")
        self._track(piece, self._pool.submit(work))

    def in_loop(self, piece: T, work: Coroutine[Any, Any, None]) -> None:
        """Await `work` in the event loop, for `piece`."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="weft-async", daemon=True)
            self._thread.start()
        self._track(piece, asyncio.run_coroutine_threadsafe(work, self._loop))

    def cancel(self) -> None:
        """Take back what has not begun, and cancel what is being awaited. What runs in a thread goes on to its end."""
        for future in list(self._futures):
            future.cancel()

    def next_done(self, timeout: float | None) -> tuple[T, Future[None]] | None:
        """A piece that is done, waited for up to `timeout` seconds (0: not at all, None: as long as it takes)."""
        try:
            piece, future = self._done.get(block=timeout != 0, timeout=timeout or None)
        except Empty:
            return None
        self._futures.pop(future, None)
        return piece, future

    def _track(self, piece: T, future: Future[None]) -> None:
        self._futures[future] = piece
        future.add_done_callback(lambda done: self._done.put((piece, done)))


async def _end_tasks() -> None:
    """Let what is being awaited clean up after itself, for a while."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        if not task.cancelling():
            task.cancel()
    if others:
        await asyncio.wait(others, timeout=_SECONDS_TO_END)
    await asyncio.get_running_loop().shutdown_asyncgens()
