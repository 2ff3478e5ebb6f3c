"""What nodes ask one another: whether a packet that came twice is already somewhere.

A packet flagged redelivered or `repeat` may have been taken by another node before. It is kept aside
(durably, and acknowledged) until every registered node has answered that it does not have it. A node that
answers "no" will not take it later either: it writes a tombstone first. When two nodes keep copies of one
packet aside, the one with the lower number has it.

Guarantees: a packet is sent by one node, once. A node that stays silent for too long makes the packet's
messages doubtful; they are never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from angarium.broker.port import Broker
from angarium.broker.topology import node_queue
from angarium.engine.spool import Spool
from angarium.errors import BrokerUnavailable, CorruptPacket

TALK: Final = b"ANGQ"
ASK_AGAIN: Final = 5.0
CEDED_LIFE: Final = 30 * 86_400.0
_log = structlog.get_logger()


class Question(msgspec.Struct, frozen=True, tag="question", array_like=True):
    """Do you have this packet?"""

    key: str
    node: int
    """Who asks."""


class Answer(msgspec.Struct, frozen=True, tag="answer", array_like=True):
    key: str
    node: int
    """Who answers."""
    has: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Question | Answer)


class _Aside:
    __slots__ = ("asked", "no", "queue", "since")

    def __init__(self, queue: str, since: float) -> None:
        self.queue = queue
        self.since = since
        self.asked = 0.0
        self.no: set[int] = set()


class Neighbours:
    """Keeps packets aside and settles whose they are.

    `nodes` gives the numbers of the registered nodes; `settle(wire, queue, doubtful)` takes a packet that is
    ours after all, within the batch in which it is no longer aside.
    """

    def __init__(
        self,
        spool: Spool,
        broker: Broker,
        node: int,
        nodes: Callable[[], set[int]],
        settle: Callable[[bytes, str, bool], None],
        silence: float,
    ) -> None:
        self._spool = spool
        self._broker = broker
        self._node = node
        self._nodes = nodes
        self._settle = settle
        self._silence = silence
        self._aside: dict[str, _Aside] = {}
        self.reload()

    def alone(self) -> bool:
        return not self._others()

    def keep_aside(self, key: str, queue: str, wire: bytes) -> None:
        """Puts the packet aside with the gathering arrivals."""
        now = time.time()
        self._aside[key] = _Aside(queue, now)
        values = (key, queue, wire, now)
        self._spool.batch.arrivals.statements.append(
            ("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?)", values)
        )

    def forget(self, key: str) -> None:
        """The disk refused it."""
        self._aside.pop(key, None)

    def reload(self) -> None:
        """What the disk says is aside: at start, and after a packet could not be taken."""
        for key, queue, since in self._spool.select("SELECT key, queue, since FROM held"):
            self._aside.setdefault(key, _Aside(queue, since))

    async def ask(self) -> None:
        """Called now and then: asks about what is aside, gives up on the silent."""
        now = time.time()
        for key, aside in list(self._aside.items()):
            others = self._others()
            if others <= aside.no:
                self._ours(key, doubtful=False)
            elif now - aside.since > self._silence:
                _log.warning("node_silent", packet=key, nodes=sorted(others - aside.no))
                self._ours(key, doubtful=True)
            elif now - aside.asked > ASK_AGAIN:
                aside.asked = now
                for other in others - aside.no:
                    await self._say(other, Question(key, self._node))

    async def heard(self, body: bytes) -> None:
        """What another node says. Raises `CorruptPacket`, `BrokerUnavailable` (no answer can go out)."""
        try:
            talk = _decoder.decode(body[len(TALK) :])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptPacket(f"not a question or an answer: {error}") from error
        if isinstance(talk, Question):
            await self._answer(talk)
        elif talk.key in self._aside:
            self._note(talk)

    async def _answer(self, question: Question) -> None:
        key, asker = question.key, question.node
        has = self._spool.knows(key) and not (key in self._aside and asker < self._node)
        if not has:
            self._drop(key)
            await self._spool.flushed()
        await self._say(asker, Answer(key, self._node, has))

    def _note(self, answer: Answer) -> None:
        if answer.has:
            self._drop(answer.key)
            return
        aside = self._aside[answer.key]
        aside.no.add(answer.node)
        if self._others() <= aside.no:
            self._ours(answer.key, doubtful=False)

    def _ours(self, key: str, *, doubtful: bool) -> None:
        aside = self._aside.pop(key)
        row = self._spool.select("SELECT wire FROM held WHERE key=?", (key,))
        self._spool.batch.arrivals.statements.append(("DELETE FROM held WHERE key=?", (key,)))
        self._settle(row[0][0], aside.queue, doubtful)

    def _drop(self, key: str) -> None:
        """Another node has it, now or before: we will not take it."""
        self._aside.pop(key, None)
        self._spool.execute("DELETE FROM held WHERE key=?", (key,))
        self._spool.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", (key, time.time() + CEDED_LIFE))

    def _others(self) -> set[int]:
        return self._nodes() - {self._node}

    async def _say(self, node: int, talk: Question | Answer) -> None:
        try:
            await self._broker.publish(node_queue(node), TALK + _encoder.encode(talk))
        except BrokerUnavailable:
            if isinstance(talk, Answer):
                raise
