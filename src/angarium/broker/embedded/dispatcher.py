"""Between the connections and the disk: who gets what, and when it is safe to say so.

- A publish is confirmed after its transaction is on disk; nothing is handed out before that.
- A message is handed out only when its queue's mark on disk covers it (see `storage`).
- A message leaves the disk only by an acknowledgement; one that had not reached the disk at a crash
  means that the message comes again, flagged.
- On a full disk publishes are refused and everything else goes on.

Memory is bounded: bodies beyond `HELD_BYTES` stay on disk until a consumer has room for them, and
connections are not read while `PENDING_BYTES` wait for the disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import structlog

from angarium.broker.embedded.connection import Body
from angarium.broker.embedded.queues import Queue, Subscriber
from angarium.broker.embedded.storage import Batch, DiskFullError, Load, Storage
from angarium.broker.topology import DEAD

HELD_BYTES: Final = 64 << 20
PENDING_BYTES: Final = 32 << 20
RETURNED_PER_LOAD: Final = 16
ACKS_WAIT: Final = 0.02
"""Seconds that acknowledgements wait for something more urgent to share a flush with."""
FULL_DISK_RETRY: Final = 1.0

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """The connection a publish came on."""

    def confirm(self, requests: list[int]) -> None: ...
    def refuse(self, requests: list[int], reason: str) -> None: ...


R = TypeVar("R")
Waiting = list[tuple[Publisher, int]]
"""Publishes to be answered: where from, and the request's number."""


class Dispatcher:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-disk")
        self._queues = {
            stored.name: Queue(
                stored.id, stored.name, mark=stored.mark, suspect=stored.mark, resting=stored.messages
            )
            for stored in storage.queues()
        }
        self._by_id = {queue.id: queue for queue in self._queues.values()}
        self._next_id = storage.last_id() + 1
        self._batch = Batch()
        self._waiting: Waiting = []
        self._pending_bytes = 0
        self._held_bytes = 0
        self._wake = asyncio.Event()
        self._acks_due: asyncio.TimerHandle | None = None
        self._relief: list[Callable[[], None]] = []
        self._deleted = False
        self._stopping = False

    # What connections call

    def publish(self, name: str, body: Body, publisher: Publisher, request: int) -> None:
        queue = self.queue(name)
        self._batch.publishes.append((self._take_id(), queue.id, body))
        self._waiting.append((publisher, request))
        self._pending_bytes += len(body)
        self._wake.set()

    def overloaded(self, relieved: Callable[[], None]) -> bool:
        """Whether too much waits for the disk; if so `relieved` is called once that is over."""
        if self._pending_bytes < PENDING_BYTES:
            return False
        self._relief.append(relieved)
        return True

    def queue(self, name: str) -> Queue:
        """The queue of that name, which comes into being now if there is none."""
        if name not in self._queues:
            queue = Queue(max(self._by_id, default=0) + 1, name)
            self._queues[name] = self._by_id[queue.id] = queue
            self._batch.queues.append((queue.id, name))
            self._wake.set()
        return self._queues[name]

    def subscribe(self, queue: Queue, subscriber: Subscriber) -> None:
        queue.subscribers.append(subscriber)
        self.pump(queue)

    def unsubscribe(self, queue: Queue, subscriber: Subscriber) -> None:
        queue.subscribers.remove(subscriber)

    def ack(self, queue: Queue, subscriber: Subscriber, message: int) -> None:
        queue.settled(subscriber)
        self._batch.acks.append((message,))
        self._wake_for_acks()
        self.pump(queue)

    def requeue(self, queue: Queue, subscriber: Subscriber, message: int) -> None:
        queue.settled(subscriber)
        queue.take_back(message)
        self.pump(queue)

    def dead_letter(self, queue: Queue, subscriber: Subscriber, message: int) -> None:
        queue.settled(subscriber)
        self._batch.moves.append((0, self.queue(DEAD).id, message))
        self._wake.set()
        self.pump(queue)

    def take_back(self, lost: Iterable[tuple[Queue, Subscriber, int]]) -> None:
        """What a consumer that is gone had not settled."""
        queues = set()
        for queue, subscriber, message in lost:
            queue.settled(subscriber)
            queue.take_back(message)
            queues.add(queue)
        for queue in queues:
            self.pump(queue)

    def pump(self, queue: Queue) -> None:
        """Hands out what may go now, and asks the disk for what the consumers have room for."""
        while not self._stopping and (message := queue.deliverable()) and (subscriber := queue.turn()):
            assert message.body is not None
            self._held_bytes -= len(message.body)
            queue.hand_out(subscriber)
        self._ask(queue)

    def full(self) -> bool:
        return self._storage.space_short()

    # The flush

    async def run(self) -> None:
        """Commits batch after batch until `stop`. Raises `sqlite3.Error` when the disk fails."""
        last = False
        while not last:
            await self._wake.wait()
            self._wake.clear()
            last = self._stopping
            if self._batch:
                await self._flush()
            while self._deleted and not self._batch:
                self._deleted = await self._on_disk(self._storage.vacuum)
        await self._on_disk(self._storage.lower_marks, self._exact_marks())

    def stop(self) -> None:
        """What was published by now is still committed and confirmed."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        self._thread.shutdown()
        self._storage.close()

    async def _flush(self) -> None:
        batch, waiting = self._batch, self._waiting
        self._batch, self._waiting = Batch(), []
        self._seal(batch)
        size = sum(len(body) for _, _, body in batch.publishes)
        try:
            await self._on_disk(self._storage.commit, batch)
        except DiskFullError as error:
            _answer(waiting, str(error))
            await self._without_publishes(batch)
        else:
            self._published(batch)
            _answer(waiting, "")
            self._committed(batch)
        self._pending_bytes -= size
        self._relieve()

    async def _without_publishes(self, batch: Batch) -> None:
        """On a full disk the rest of the batch is still tried, and kept for later if it fails too."""
        batch.publishes.clear()
        try:
            await self._on_disk(self._storage.commit, batch)
        except DiskFullError as error:
            log.error("disk full, acknowledgements wait", reason=str(error))
            self._keep(batch)
        else:
            self._committed(batch)

    def _keep(self, batch: Batch) -> None:
        later = self._batch
        later.queues[:0] = batch.queues
        later.acks[:0] = batch.acks
        later.moves[:0] = batch.moves
        later.loads[:0] = batch.loads
        later.marks = {**batch.marks, **later.marks}
        asyncio.get_running_loop().call_later(FULL_DISK_RETRY, self._wake.set)

    def _seal(self, batch: Batch) -> None:
        """Last touches: new ids for moved messages, marks for publishes that consumers have room for."""
        batch.moves = [(self._take_id(), queue, old) for _, queue, old in batch.moves]
        room: dict[int, int] = {}
        for id_, number, _ in batch.publishes:
            queue = self._by_id[number]
            if number not in room:
                room[number] = 0 if queue.resting else queue.credit() - len(queue.returned) - len(queue.held)
            if room[number] > 0:
                room[number] -= 1
                batch.marks[number] = max(batch.marks.get(number, 0), id_)

    def _published(self, batch: Batch) -> None:
        for id_, number, body in batch.publishes:
            queue = self._by_id[number]
            if queue.resting or (queue.held and self._held_bytes > HELD_BYTES) or not queue.subscribers:
                queue.resting += 1
            else:
                queue.hold(id_, body)
                self._held_bytes += len(body)

    def _committed(self, batch: Batch) -> None:
        self._deleted = self._deleted or bool(batch.acks)
        touched = {number for _, number, _ in batch.publishes}
        for _, number, _ in batch.moves:
            self._by_id[number].resting += 1
            touched.add(number)
        for load in batch.loads:
            self._loaded(self._by_id[load.queue], load)
            touched.add(load.queue)
        for number, mark in batch.marks.items():
            self._by_id[number].mark = max(self._by_id[number].mark, mark)
            touched.add(number)
        for number in touched:
            self.pump(self._by_id[number])

    def _loaded(self, queue: Queue, load: Load) -> None:
        for message in queue.returned:
            if message.id in load.bodies:
                message.body = load.bodies[message.id]
                self._held_bytes += len(message.body)
        for id_, body in load.following:
            queue.hold(id_, body)
            queue.resting -= 1
            self._held_bytes += len(body)
        queue.loading = False

    def _ask(self, queue: Queue) -> None:
        """Puts into the next batch what keeps the consumers' room empty: bodies to load, a mark to raise."""
        credit = queue.credit()
        if queue.loading or not credit:
            return
        heads = queue.heads(credit)
        returned = tuple(message.id for message in heads if message.body is None)[:RETURNED_PER_LOAD]
        following = credit - len(heads) if queue.resting else 0
        if returned or following:
            queue.loading = True
            self._batch.loads.append(Load(queue.id, returned, queue.edge, following))
            self._wake.set()
        last = max((message.id for message in heads), default=0)
        if last > queue.mark:
            self._batch.marks[queue.id] = max(last, self._batch.marks.get(queue.id, 0))
            self._wake.set()

    def _wake_for_acks(self) -> None:
        if self._acks_due is None:
            self._acks_due = asyncio.get_running_loop().call_later(ACKS_WAIT, self._acks_are_due)

    def _acks_are_due(self) -> None:
        self._acks_due = None
        self._wake.set()

    def _relieve(self) -> None:
        if self._pending_bytes < PENDING_BYTES:
            relief, self._relief = self._relief, []
            for relieved in relief:
                relieved()

    def _exact_marks(self) -> dict[int, int]:
        return {queue.id: max(queue.suspect, queue.handed_out) for queue in self._by_id.values()}

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    async def _on_disk(self, work: Callable[..., R], *args: Any) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


def _answer(waiting: Waiting, problem: str) -> None:
    """Confirms, or refuses for the problem, each connection's publishes in one frame."""
    requests: defaultdict[Publisher, list[int]] = defaultdict(list)
    for publisher, request in waiting:
        requests[publisher].append(request)
    for publisher, numbers in requests.items():
        if problem:
            publisher.refuse(numbers, problem)
        else:
            publisher.confirm(numbers)
