"""The carrier: which ready message goes over which connection.

A *track* is one sender and one ISP: the scopes of the sender's source addresses, and the destinations (host
sets) its messages go to. Right before the spool's next commit, each track that changed is pumped: as many
messages as the permits allow are chosen, committed as granted, and then handed to couriers. What follows
from an answer is the settlement's business (`mta.settlement`).

Guarantees: a message goes to a courier only after its grant and the permits it used are committed; a
destination that cannot be reached is left alone for a while. Never done: no message is handed out twice at
a time; nothing is sent before the settings have been read.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Final

import structlog

from angarium.domain.email import mail_content
from angarium.domain.outcome import Reason
from angarium.domain.sending import HeloType, Sender, SendingSettings, Strategy, TlsPolicy
from angarium.domain.strategy import pick
from angarium.engine.gatekeeper import Gatekeeper
from angarium.engine.message import Message
from angarium.engine.spool import Spool
from angarium.mta import link
from angarium.mta.couriers import Courier, Couriers
from angarium.mta.destinations import MESSAGES_A_CONNECTION, Connection, Destination, Scope, Track
from angarium.mta.resolution import Found, Resolution
from angarium.mta.settlement import Settlement

IDLE_CLOSE: Final = 5.0
"""Seconds a connection may be idle."""
SLEEP_FIRST: Final = 10.0
SLEEP_LONGEST: Final = 300.0
NO_SENDER_PAUSE: Final = 30.0
HELD_LEAST: Final = 2
"""Messages a connection has at most: the one being sent and one ahead …"""
HELD_MOST: Final = 16
"""… or twice as many as it ended since it was last given any, up to so many: a quick one does not wait."""
_log = structlog.get_logger()


class Carrier:
    """See the module's head."""

    def __init__(
        self,
        spool: Spool,
        settlement: Settlement,
        gatekeeper: Gatekeeper,
        node: int,
        resolution: Resolution,
        boot: str,
        speed: float,
    ) -> None:
        self._spool = spool
        self._gatekeeper = gatekeeper
        self._settlement = settlement
        self._node = node
        self._resolution = resolution
        self._boot = boot
        self._speed = speed
        self.couriers: Couriers
        self.settings = SendingSettings(0)
        self._tracks: dict[tuple[int, int], Track] = {}
        self._connections: dict[int, Connection] = {}
        self._in_hand: dict[int, Connection] = {}
        self._resolving: defaultdict[tuple[int, str], list[Message]] = defaultdict(list)
        self._dirty: dict[tuple[int, int], Track] = {}
        self._changed: set[Scope] = set()
        self._draining = False
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._permits = dict(spool.select("SELECT scope, state FROM permit"))
        spool.before_commit = self._pump

    def pause(self, *, paused: bool) -> None:
        """While paused nothing is begun."""
        if self._paused and not paused:
            for track in self._tracks.values():
                self._mark(track)
        self._paused = paused

    def use(self, settings: SendingSettings) -> None:
        """Everything that begins from now on follows these settings."""
        self.settings = settings
        self._resolution.forget()
        for track in self._tracks.values():
            self._refresh_scopes(track)
            self._mark(track)

    # ── messages come ───────────────────────────────────────────────────────────────────────────

    def add(self, message: Message) -> None:
        """A message is ready: find where it goes."""
        if self._settlement.expired(message):
            return
        sender = self.settings.senders.get(self._spool.lanes[message.lane].sender)
        if sender is None or not sender.active or not self._node_active():
            self._settlement.put_off(message, time.time() + NO_SENDER_PAUSE)
        elif found := self._resolution.known(sender.id, message.domain):
            self._place(message, sender, found)
        else:
            self._wait_for_route(sender, message)

    def _wait_for_route(self, sender: Sender, message: Message) -> None:
        waiting = self._resolving[sender.id, message.domain]
        waiting.append(message)
        if len(waiting) == 1:
            self._background(self._resolve(sender, message.domain))

    async def _resolve(self, sender: Sender, domain: str) -> None:
        found = await self._resolution.find(self.settings, sender, domain)
        for message in self._resolving.pop((sender.id, domain), []):
            if not message.gone:
                self._place(message, sender, found)

    def _place(self, message: Message, sender: Sender, found: Found) -> None:
        lane = self._spool.lanes[message.lane]
        if found.failure is not None:
            self._settlement.failed(message, found.failure, lane.isp)
            return
        if found.isp and not lane.isp and message.stored:
            lane = self._settlement.change_isp(message, found.isp)
        if self._settlement.halted(message):
            return
        track = self._track(sender.id, lane.isp)
        destination = track.destinations.get(found.key)
        if destination is None:
            destination = track.destinations[found.key] = Destination(found.key, found.hosts)
        destination.hosts = found.hosts
        destination.add(message, lane)
        self._mark(track)

    # ── pumping ─────────────────────────────────────────────────────────────────────────────────

    def _mark(self, track: Track) -> None:
        self._dirty[track.sender, track.isp] = track
        self._spool.want_commit()

    def _pump(self) -> None:
        dirty, self._dirty = self._dirty, {}
        chosen: list[tuple[Connection, Message]] = []
        if not (self._draining or self._paused) and self.couriers.running:
            for track in dirty.values():
                self._pump_track(track, chosen)
        for scope in self._changed:
            self._spool.permit(scope.key, scope.dump(self._boot))
        self._changed.clear()
        for connection, message in chosen:
            self._spool.grant(message, connection.scope.source, connection.host)
        if chosen:
            self._spool.flushed().add_done_callback(lambda flushed: self._hand_over(flushed, chosen))

    def _pump_track(self, track: Track, chosen: list[tuple[Connection, Message]]) -> None:
        now = time.monotonic()
        destinations = [d for d in track.destinations.values() if d.ready]
        random.shuffle(destinations)
        for scope in track.scopes.values():
            if scope.strategy.drop:
                self._drop_all(track)
                return
            for destination in destinations:
                self._fill(track, scope, destination, now, chosen)
        for scope in track.scopes.values():
            for destination in destinations:
                if destination.ready:
                    self._open_more(track, scope, destination, now)
        self._wake_when_permitted(track, now)

    def _fill(
        self,
        track: Track,
        scope: Scope,
        destination: Destination,
        now: float,
        chosen: list[tuple[Connection, Message]],
    ) -> None:
        """Hands messages to open connections: first to the idle ones, then ahead to the busy ones."""
        allowed = scope.transactions.available(now)
        mine = [c for c in destination.connections.values() if c.scope is scope and c.usable]
        for ahead in (False, True):
            for connection in mine:
                most = min(max(HELD_LEAST, 2 * connection.ended), HELD_MOST) if ahead else 1
                while allowed and destination.ready and connection.usable and len(connection.held) < most:
                    message = destination.next(scope.source, track.scopes.keys())
                    if message is None:
                        return
                    if connection.from_domain and connection.from_domain != _from_domain(message):
                        destination.add(message, self._spool.lanes[message.lane], front=True)
                        break
                    self._choose(connection, message, chosen)
                    allowed -= 1
        for connection in mine:
            connection.ended = 0

    def _choose(
        self, connection: Connection, message: Message, chosen: list[tuple[Connection, Message]]
    ) -> None:
        connection.held[message.seq] = message
        self._in_hand[message.seq] = connection
        connection.handed += 1
        connection.closing = connection.handed >= connection.scope.strategy.messages_per_connection
        connection.scope.transactions.begin()
        self._changed.add(connection.scope)
        chosen.append((connection, message))

    def _open_more(self, track: Track, scope: Scope, destination: Destination, now: float) -> None:
        if destination.asleep_until(scope.source) > now:
            track.wake_at = min(track.wake_at, destination.asleep_until(scope.source))
            return
        if not destination.has_for(scope.source, track.scopes.keys()):
            return
        mine = [c for c in destination.connections.values() if c.scope is scope]
        opening = sum(not c.opened for c in mine)
        wanted = -(-destination.ready // MESSAGES_A_CONNECTION)
        while opening < wanted and scope.openings.available(now) and scope.transactions.available(now):
            if len(scope.connections) >= scope.strategy.connections:
                self._make_room(scope, destination)
                return
            if not self._open(track, scope, destination):
                return
            opening += 1

    def _make_room(self, scope: Scope, destination: Destination) -> None:
        """Another destination's connection has nothing to do: let it go."""
        for connection in scope.connections.values():
            idle = connection.usable and not connection.held and not connection.destination.ready
            if idle and connection.destination is not destination:
                self._close(connection)
                return

    def _open(self, track: Track, scope: Scope, destination: Destination) -> bool:
        courier, message = self.couriers.least_busy(), destination.first()
        if courier is None or message is None:
            return False
        from_domain = _from_domain(message) if scope.strategy.helo is HeloType.FROM_DOMAIN else ""
        connection = Connection(self._spool.number(), courier, scope, destination, from_domain)
        self._connections[connection.number] = connection
        scope.connections[connection.number] = connection
        destination.connections[connection.number] = connection
        scope.openings.begin()
        self._changed.add(scope)
        courier.connections += 1
        courier.say(self._order_to_open(connection, self.settings.senders[track.sender], message.domain))
        return True

    def _order_to_open(self, connection: Connection, sender: Sender, domain: str) -> link.Open:
        scope = connection.scope
        route = self._resolution.route(self.settings, sender, domain)
        tls = route.tls if route else sender.tls
        if tls is TlsPolicy.OPPORTUNISTIC and not scope.strategy.try_tls:
            tls = TlsPolicy.NEVER
        return link.Open(
            connection.number,
            sender.id,
            scope.source,
            self._helo(scope, connection.from_domain),
            connection.destination.hosts,
            tls,
            route.username if route else "",
            route.password if route else "",
            scope.strategy.messages_per_connection,
        )

    def _helo(self, scope: Scope, from_domain: str) -> str:
        if scope.strategy.helo is HeloType.FROM_DOMAIN:
            return from_domain
        if scope.strategy.helo is HeloType.IP and scope.source:
            return f"[{'IPv6:' if ':' in scope.source else ''}{scope.source}]"
        return self._resolution.name_of(self.settings, scope.source)

    def _wake_when_permitted(self, track: Track, now: float) -> None:
        for scope in track.scopes.values():
            for window in (scope.transactions, scope.openings):
                if (free := window.next_free(now)) is not None:
                    track.wake_at = min(track.wake_at, free)
        at, track.wake_at = track.wake_at, float("inf")
        if at == float("inf") or now < track.timer_at <= at:
            return
        if track.timer:
            track.timer.cancel()
        track.timer_at = max(at, now + 0.001)
        track.timer = asyncio.get_running_loop().call_later(track.timer_at - now, self._woken, track)

    def _woken(self, track: Track) -> None:
        track.timer_at = 0.0  # it may have fired a trifle early: then the pump sets it again
        self._mark(track)

    def _hand_over(self, flushed: asyncio.Future[None], chosen: list[tuple[Connection, Message]]) -> None:
        if flushed.exception():
            return
        for connection, message in chosen:
            if message.seq not in connection.held:
                continue
            usable = connection.number in self._connections and connection.courier.alive
            if usable and not self._gatekeeper.shut(message.lane):
                connection.courier.send(self._spool, message, connection.number, connection.scope.isp)
            else:
                self._give_back(connection, message.seq)

    # ── couriers speak ──────────────────────────────────────────────────────────────────────────

    def heard(self, courier: Courier, messages: list[link.ToEngine]) -> None:
        for message in messages:
            match message:
                case link.Done():
                    self._done(courier, message)
                case link.Begun(seqs=seqs):
                    self._begun(seqs)
                case link.Opened():
                    self._opened(message)
                case link.Returned():
                    self._returned(message)
                case link.Closed(connection=number):
                    self._gone(number)
                case link.OpenFailed():
                    self._open_failed(message)
                case link.Ready():
                    for track in self._tracks.values():
                        self._mark(track)

    def _opened(self, opened: link.Opened) -> None:
        if (connection := self._connections.get(opened.connection)) is None:
            return
        now = asyncio.get_running_loop().time()
        connection.opened = True
        connection.idle_since = now
        connection.host = opened.host.name
        connection.scope.openings.end(now)
        self._changed.add(connection.scope)
        connection.destination.asleep.pop(connection.scope.source, None)
        self._mark_of(connection)

    def _begun(self, seqs: tuple[int, ...]) -> None:
        for seq in seqs:
            if (connection := self._in_hand.get(seq)) and (message := connection.held.get(seq)):
                self._settlement.begun(message)

    def _done(self, courier: Courier, done: link.Done) -> None:
        connection = self._in_hand.get(done.seq)
        if connection is None or connection.held[done.seq].grant != done.grant:
            return
        message = self._out_of_hand(connection, done.seq)
        now = time.monotonic()
        connection.scope.transactions.end(now)
        connection.idle_since = now
        connection.ended += 1
        self._settlement.done(message, done, connection.scope.source, connection.scope.isp)
        if done.slot >= 0:
            courier.settle(done.slot, self._spool)
        self._mark_of(connection)

    def _out_of_hand(self, connection: Connection, seq: int) -> Message:
        del self._in_hand[seq]
        self._changed.add(connection.scope)
        return connection.held.pop(seq)

    def _returned(self, returned: link.Returned) -> None:
        if (connection := self._connections.get(returned.connection)) is None:
            return
        connection.closing = connection.closing or not returned.recalled
        for seq in reversed(returned.seqs):
            if seq in connection.held:
                self._give_back(connection, seq)

    def _give_back(self, connection: Connection, seq: int) -> None:
        """It was not sent; no attempt is counted."""
        message = self._out_of_hand(connection, seq)
        connection.scope.transactions.cancel()
        self._settlement.not_sent(message)
        if not self._settlement.halted(message):
            connection.destination.add(message, self._spool.lanes[message.lane], front=True)
        self._mark_of(connection)

    def _gone(self, number: int) -> None:
        connection = self._connections.pop(number, None)
        if connection is None:
            return
        if not connection.opened:
            connection.scope.openings.end(time.monotonic())
        self._changed.add(connection.scope)
        connection.courier.connections -= 1
        connection.scope.connections.pop(number, None)
        connection.destination.connections.pop(number, None)
        for seq in list(reversed(connection.held)):
            self._give_back(connection, seq)
        self._mark_of(connection)

    def _open_failed(self, failed: link.OpenFailed) -> None:
        """This source could not reach the destination. When none can, all who wait have failed."""
        if (connection := self._connections.get(failed.connection)) is None:
            return
        scope, destination = connection.scope, connection.destination
        self._gone(failed.connection)
        now = time.monotonic()
        failures = destination.asleep.get(scope.source, (0.0, 0))[1]
        pause = min(SLEEP_FIRST * 2**failures, SLEEP_LONGEST) / self._speed
        destination.asleep[scope.source] = now + pause, failures + 1
        track = self._track(scope.sender, scope.isp)
        for message in destination.take_stranded(track.scopes.keys()):
            self._settlement.failed(message, failed.reply, scope.isp, scope.source, failed.host)
        self._mark(track)

    def courier_died(self, courier: Courier) -> None:
        """Its slots say what became of what it had."""
        found = courier.slots()
        for connection in [c for c in self._connections.values() if c.courier is courier]:
            for seq in list(connection.held):
                message = self._out_of_hand(connection, seq)
                connection.scope.transactions.end(time.monotonic())
                slot = found.get((seq, message.grant))
                self._settlement.recover(message, slot, connection.scope.source, connection.host)
            self._gone(connection.number)

    # ── gates close ─────────────────────────────────────────────────────────────────────────────

    def take_back(self, lanes: set[int]) -> None:
        """Empties these lanes' queues and recalls what has not begun."""
        for track in self._tracks.values():
            for destination in track.destinations.values():
                for message in destination.take_lanes(lanes):
                    if message.stored:
                        self._settlement.schedule.released(message, message.lane)
        for connection in self._connections.values():
            waiting = [m.seq for m in connection.held.values() if m.lane in lanes and not m.begun]
            if waiting:
                connection.courier.say(link.Recall(tuple(waiting)))

    # ── housekeeping ────────────────────────────────────────────────────────────────────────────

    def look_after(self) -> None:
        """Called every second: idle connections go, destinations without use are forgotten."""
        now = time.monotonic()
        for connection in list(self._connections.values()):
            idle = connection.usable and not connection.held and now - connection.idle_since > IDLE_CLOSE
            if idle and not connection.destination.ready:
                self._close(connection)
        for track in self._tracks.values():
            track.destinations = {
                key: destination
                for key, destination in track.destinations.items()
                if destination.ready or destination.connections or destination.sleeps(now)
            }

    async def drain(self, patience: float) -> None:
        """Begins nothing more; what couriers have is finished or comes back."""
        self._draining = True
        await self.couriers.stop(patience)

    def sources_of(self, sender: Sender) -> list[str]:
        """The sender's addresses on this node; `[""]`, the kernel's choice, when it has none anywhere."""
        if not sender.addresses:
            return [""]
        addresses = (self.settings.addresses.get(number) for number in sender.addresses)
        return [a.address for a in addresses if a is not None and a.node == self._node]

    def _drop_all(self, track: Track) -> None:
        for destination in track.destinations.values():
            for message in list(destination.take_all()):
                self._settlement.end(message, Reason.DROPPED)

    def _close(self, connection: Connection) -> None:
        connection.closing = True
        connection.courier.say(link.Close(connection.number))

    def _track(self, sender: int, isp: int) -> Track:
        track = self._tracks.get((sender, isp))
        if track is None:
            track = self._tracks[sender, isp] = Track(sender, isp)
            self._refresh_scopes(track)
        return track

    def _refresh_scopes(self, track: Track) -> None:
        """One scope for each of the sender's addresses on this node."""
        sender = self.settings.senders.get(track.sender)
        wanted = self.sources_of(sender) if sender else []
        now = time.monotonic()
        for source in track.scopes.keys() - set(wanted):
            if not track.scopes[source].connections:
                del track.scopes[source]
        for source in wanted:
            strategy = self._strategy(sender, source, track.isp) if sender else None
            if strategy and source in track.scopes:
                track.scopes[source].adopt(strategy, now)
            elif strategy:
                scope = track.scopes[source] = Scope(track.sender, source, track.isp, strategy)
                if state := self._permits.pop(scope.key, None):
                    scope.restore(state, self._boot, now)

    def _strategy(self, sender: Sender, source: str, isp: int) -> Strategy:
        number = next((a.id for a in self.settings.addresses.values() if a.address == source), 0)
        return pick(self.settings, sender, number, isp)

    def _node_active(self) -> bool:
        node = self.settings.nodes.get(self._node)
        return node is not None and node.active

    def _mark_of(self, connection: Connection) -> None:
        self._mark(self._track(connection.scope.sender, connection.scope.isp))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _from_domain(message: Message) -> str:
    return mail_content(message.header).from_address.rpartition("@")[2]
