"""The settlement: what becomes of a message after an attempt, a death, or the end of its life.

Decisions are values (`mta.decision`); `_apply` is the one place where they become true.

Guarantees: an outcome, the removal of its message and its events are one transaction of the spool; a message
whose fate is unknown is listed as doubtful, never dropped.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
import structlog

from angarium.domain.email import Reply
from angarium.domain.gates import Clear
from angarium.domain.outcome import Bounce, BounceType, Decision, Defer, Delivered, Reason, Undelivered
from angarium.domain.sending import DoubtPolicy, Node, SendingSettings
from angarium.engine.gatekeeper import Gatekeeper
from angarium.engine.message import LaneKey, Message
from angarium.engine.moves import Moves
from angarium.engine.schedule import Schedule
from angarium.engine.spool import Spool
from angarium.events import Event
from angarium.mta import decision as decisions
from angarium.mta import link
from angarium.mta.decision import Attempt
from angarium.mta.judge import Judge
from angarium.mta.slots import Slot

_ASSUMED = Reply(250, "", "assumed delivered", "dot", local=True)
_log = structlog.get_logger()


class Settlement:
    """See the module's head. `finished` is told of messages that were tried before they were written."""

    def __init__(self, spool: Spool, moves: Moves, gatekeeper: Gatekeeper, node: int) -> None:
        self._spool = spool
        self._gatekeeper = gatekeeper
        self._moves = moves
        self._node = node
        self._settings = SendingSettings(0)
        self._judge = Judge(self._settings)
        self._expired_to = 0
        self.schedule: Schedule
        self.finished: Callable[[Message], None] = lambda message: None
        self.sending: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        """Lane → how many of its new messages and of its retries are being sent."""

    def use(self, settings: SendingSettings) -> None:
        self._settings = settings
        self._judge = Judge(settings)

    def see_nodes(self, nodes: dict[int, Node]) -> None:
        """Who was seen when: where a retry may go."""
        self._settings = msgspec.structs.replace(self._settings, nodes=nodes)

    # ── after an attempt ────────────────────────────────────────────────────────────────────────

    def done(self, message: Message, done: link.Done, source: str, isp: int) -> None:
        """A courier has ended a transaction."""
        if done.outcome == "doubtful":
            self.doubt(message, source, done.host)
            return
        attempt = Attempt(done.verdict, done.reply, time.time(), source, done.host, done.tls)
        if done.outcome == "unsendable":
            self._apply(message, Undelivered(Reason.REJECTED_LOCALLY), attempt, isp)
        else:
            self._conclude(message, attempt, isp)

    def failed(self, message: Message, reply: Reply, isp: int, source: str = "", host: str = "") -> None:
        """A failure before any transaction. What a host says to everybody is no verdict on an address."""
        verdict = self._judge.verdict(reply, isp)
        if reply.stage != "dns" and verdict.type is not BounceType.SOFT:
            verdict = msgspec.structs.replace(verdict, type=BounceType.SOFT)
        self._conclude(message, Attempt(verdict, reply, time.time(), source, host, ""), isp)

    def _conclude(self, message: Message, attempt: Attempt, isp: int) -> None:
        rest = self._gatekeeper.rest(message, attempt.ended)
        decision = decisions.decide(attempt, message, isp, self._settings, self._node, random.random(), rest)
        if isinstance(decision, Defer) and self._gatekeeper.cleared_by(message):
            decision = Undelivered(Reason.REMOVED)
        self._apply(message, decision, attempt, isp)

    def _apply(self, message: Message, decision: Decision, attempt: Attempt, isp: int) -> None:
        events = decisions.events(decision, attempt, message, isp, self._node)
        match decision:
            case Defer(until=until, address=address, node=node):
                lane = msgspec.structs.replace(
                    self._spool.lanes[message.lane], source=address or "", node=node or 0
                )
                self._again(message, until, lane, attempt.source, events)
            case Delivered() | Bounce() | Undelivered():
                self._finish(message, events)

    # ── doubt, deaths, recovery ─────────────────────────────────────────────────────────────────

    def doubt(self, message: Message, source: str = "", mx: str = "") -> None:
        """Sent, and no answer known: listed, and the sender's policy decides."""
        now = time.time()
        lane = self._spool.lanes[message.lane]
        event = decisions.doubt(message, now, lane.isp, self._node, source, mx)
        _log.warning("delivery_doubtful", message=message.id.hex(), address=message.address, mx=mx)
        sender = self._settings.senders.get(message.header.sender)
        if sender is not None and sender.doubt is DoubtPolicy.ASSUME_DELIVERED:
            assumed = Attempt(link.Verdict(None), _ASSUMED, now, source, mx, "")
            delivered = decisions.events(Delivered(), assumed, message, lane.isp, self._node)
            self._finish(message, [event, *delivered])
        else:
            self._again(message, now, lane, source, [event])

    def recover(self, message: Message, slot: Slot | None, source: str, mx: str) -> None:
        """After a courier's death: its slot for this message says what is known."""
        if slot is None:
            self.put_off(message, time.time())
        elif slot.reply is None:
            self.doubt(message, source, mx)
        else:
            isp = self._spool.lanes[message.lane].isp
            verdict = self._judge.verdict(slot.reply, isp)
            self._conclude(message, Attempt(verdict, slot.reply, time.time(), source, mx, ""), isp)

    def recover_all(self, left: dict[tuple[int, int], Slot] | None) -> None:
        """After a start: settles every open grant by what the couriers of the last run left behind.

        None: nothing is known of them (the machine has booted since), so every grant is doubtful.
        """
        for seq, grant, source, mx in self._spool.select("SELECT seq, grant_number, source, mx FROM granted"):
            for message in self._spool.messages("seq=?", (seq,)):
                message.grant = grant
                if left is None:
                    self.doubt(message, source, mx)
                else:
                    self.recover(message, left.get((seq, grant)), source, mx)

    def not_sent(self, message: Message) -> None:
        """Handed to a courier and not begun: ready as before, no attempt counted."""
        self._not_begun(message)
        self._spool.ungrant(message)

    # ── without an attempt ──────────────────────────────────────────────────────────────────────

    def begun(self, message: Message) -> None:
        """Its transaction has begun."""
        if not message.begun:
            message.begun = True
            self.sending[message.lane][_kind(message)] += 1

    def put_off(self, message: Message, until: float) -> None:
        """Later, without an attempt and without an event."""
        if message.stored:
            self._reschedule(
                message, until, self._spool.lanes[message.lane], message.attempts, message.tried, ()
            )
        else:
            self._not_begun(message)
            self._spool.ungrant(message)

    def change_isp(self, message: Message, isp: int) -> LaneKey:
        """The domain is in no list, but its mail hosts are an ISP's."""
        before = message.lane
        key = msgspec.structs.replace(self._spool.lanes[before], isp=isp)
        self._spool.reschedule(
            message,
            due=message.due,
            lane=self._spool.lane(key),
            attempts=message.attempts,
            tried=message.tried,
            events=(),
        )
        self.schedule.changed_lane(message, before)
        return key

    def expired(self, message: Message) -> bool:
        """Whether its life was over; then it has been ended."""
        if not self._life_is_over(message, time.time()):
            return False
        self.end(message, Reason.LIFETIME)
        return True

    def halted(self, message: Message) -> bool:
        """Whether a ready message must not begin: it leaves memory, or it was cleared and has been ended."""
        if clear := self._gatekeeper.cleared_by(message):
            self.end(message, Reason.REMOVED, _removed_by(clear))
            return True
        if not self._gatekeeper.shut(message.lane):
            return False
        if message.stored:  # else whoever waits for it writes it down
            self.schedule.released(message, message.lane)
            self._after_flush(lambda: self.schedule.arrived([message]))
        return True

    def removed(self, message: Message) -> bool:
        """Whether a message that is not in memory was cleared; then it has been ended."""
        if clear := self._gatekeeper.cleared_by(message):
            self.remove(message, clear)
        return clear is not None

    def remove(self, message: Message, clear: Clear) -> None:
        """The end of a message that was cleared and is not in memory."""
        isp = self._spool.lanes[message.lane].isp
        text = _removed_by(clear)
        self._spool.end(
            message,
            decisions.end_without_attempt(message, Reason.REMOVED, time.time(), isp, self._node, text),
        )

    def end(self, message: Message, reason: Reason, text: str = "") -> None:
        """The end of a message that nobody refused."""
        isp = self._spool.lanes[message.lane].isp
        message.gone = True
        events = decisions.end_without_attempt(message, reason, time.time(), isp, self._node, text)
        self._finish(message, events)

    def expire_all(self) -> None:
        """Ends messages whose life is over, wherever on the disk they wait."""
        now = time.time()
        # From where the last look ended: packets that gates keep alive must not hide those behind them.
        packets = self._spool.select(
            "SELECT id FROM packet WHERE expires < ? AND id > ? ORDER BY id LIMIT 50", (now, self._expired_to)
        )
        self._expired_to = packets[-1][0] if packets else 0
        for (packet,) in packets:
            for message in self._spool.messages_of(packet):
                resting = self._spool.lanes[message.lane].rests or not self._life_is_over(message, now)
                if not (resting or self.schedule.holds(message) or self._spool.is_granted(message)):
                    isp = self._spool.lanes[message.lane].isp
                    self._spool.end(
                        message,
                        decisions.end_without_attempt(message, Reason.LIFETIME, now, isp, self._node),
                    )

    def _life_is_over(self, message: Message, now: float) -> bool:
        return decisions.end_of_life(message, self._gatekeeper.rest(message, now)) <= now

    # ── small parts ─────────────────────────────────────────────────────────────────────────────

    def _finish(self, message: Message, events: Iterable[Event]) -> None:
        self._not_begun(message)
        stored, lane = message.stored, message.lane
        self._spool.end(message, events)
        self._leave_memory(message, lane, stored=stored)

    def _again(
        self, message: Message, until: float, lane: LaneKey, source: str, events: Iterable[Event]
    ) -> None:
        tried = decisions.tried_after(message, source)
        self._reschedule(message, until, lane, message.attempts + 1, tried, events)

    def _reschedule(
        self,
        message: Message,
        due: float,
        lane: LaneKey,
        attempts: int,
        tried: tuple[str, ...],
        events: Iterable[Event],
    ) -> None:
        self._not_begun(message)
        stored, before = message.stored, message.lane
        number = self._spool.lane(lane)
        self._spool.reschedule(message, due=due, lane=number, attempts=attempts, tried=tried, events=events)
        self._after_flush(lambda: self._moves.look() if lane.node else self.schedule.arrived([message]))
        self._leave_memory(message, before, stored=stored)

    def _leave_memory(self, message: Message, lane: int, *, stored: bool) -> None:
        if stored:
            self.schedule.released(message, lane)
        else:
            self._after_flush(lambda: self.finished(message))

    def _not_begun(self, message: Message) -> None:
        if message.begun:
            message.begun = False
            self.sending[message.lane][_kind(message)] -= 1

    def _after_flush(self, then: Callable[[], None]) -> None:
        self._spool.flushed().add_done_callback(lambda future: None if future.exception() else then())


def _removed_by(clear: Clear) -> str:
    return f"removed from the queue by {clear.user}" if clear.user else ""


def _kind(message: Message) -> int:
    return 1 if message.attempts else 0
