"""The spool: what it promises of messages on the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.spooling import open_spool, packet_of

from angarium import events
from angarium.domain.message import FrameReader
from angarium.engine.spool import Spool
from angarium.errors import SpoolUnavailable
from angarium.events import Event, EventKind
from angarium.mta import link
from angarium.mta.couriers import Courier


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = open_spool(tmp_path)
    yield opened
    await opened.close()


def delivered(message_id: bytes) -> Event:
    return Event(EventKind.DELIVERED, 1.0, 1, 1, 1, message_id, "email", 1, 1, 1, "a@example.com")


async def reopened(spool: Spool, folder: Path) -> Spool:
    await spool.close()
    return open_spool(folder)


async def test_messages_taken_are_there_after_a_restart_with_bodies_and_counts(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    packet = packet_of(1, 5)
    messages = spool.take(packet, time.time())
    await spool.taken()
    lane = messages[0].lane
    spool = await reopened(spool, tmp_path)
    found = spool.ready(lane, (0.0, 0), time.time() + 1, 100)
    assert [message.address for message in found] == [r.address for r in packet.header.recipients]
    assert spool.lane_counts[lane] == [5, 0]
    reader = FrameReader(spool.first_frame(found[0].packet))
    assert b"Hello user3@example.com" in reader.read(3, spool.frame(found[3]))
    await spool.close()


async def test_a_second_engine_is_refused_the_folder(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="another engine owns"):
        open_spool(tmp_path)


async def test_an_end_removes_the_message_and_leaves_its_event_in_one_commit(
    spool: Spool, tmp_path: Path
) -> None:
    messages = spool.take(packet_of(1, 2), time.time())
    await spool.taken()
    spool.end(messages[0], [delivered(messages[0].id)])
    await spool.flushed()
    assert [row.seq for row in spool.messages("1")] == [messages[1].seq]
    (_, wire), *rest = spool.outbox(0, 10)
    assert not rest
    assert [event.message for batch in events.decode(wire) for event in batch.events] == [messages[0].id]
    assert spool.lane_counts[messages[0].lane] == [1, 0]


async def test_a_message_found_on_the_disk_before_its_end_is_committed_ends_once(spool: Spool) -> None:
    spool.take(packet_of(1, 3), time.time())
    await spool.taken()
    first, second, _ = spool.messages("1 ORDER BY seq")
    for message in (first, *spool.messages("seq=?", (first.seq,)), second):
        spool.end(message, [delivered(message.id)])
    await spool.flushed()
    assert spool.lane_counts[first.lane] == [1, 0]
    assert spool.select("SELECT alive FROM packet") == [(1,)]
    bodies = [wire for _, wire in spool.outbox(0, 10)]
    told = [event.message for wire in bodies for batch in events.decode(wire) for event in batch.events]
    assert told == [first.id, second.id]


async def test_a_finished_packet_stays_known(spool: Spool) -> None:
    (message,) = spool.take(packet_of(7, 1), time.time())
    assert spool.knows("p7")
    await spool.taken()
    spool.end(message, [])
    await spool.flushed()
    assert spool.messages("1") == []
    assert spool.knows("p7")
    assert not spool.knows("p8")


async def test_bodies_that_no_index_row_names_are_swept_at_the_start(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool._bodies.execute("INSERT INTO body VALUES (999, x'00')")
    spool = await reopened(spool, tmp_path)
    assert spool._bodies.execute("SELECT count(*) FROM body").fetchone() == (0,)
    await spool.close()


async def test_a_message_put_off_is_a_retry_of_its_new_lane(spool: Spool) -> None:
    (message,) = spool.take(packet_of(1, 1), time.time())
    await spool.taken()
    spool.grant(message, "127.0.0.1", "mx")
    later = time.time() + 60
    spool.reschedule(message, due=later, lane=message.lane, attempts=1, tried=("127.0.0.1",), events=[])
    await spool.flushed()
    (found,) = spool.messages("1")
    assert (found.due, found.attempts, found.tried) == (later, 1, ("127.0.0.1",))
    assert spool.lane_counts[message.lane] == [0, 1]
    assert not spool.is_granted(found)


async def test_a_grant_taken_back_and_given_again_in_one_commit_stays(spool: Spool) -> None:
    (message,) = spool.take(packet_of(1, 1), time.time())
    await spool.taken()
    spool.grant(message, "127.0.0.1", "mx")
    await spool.flushed()
    spool.ungrant(message)
    spool.grant(message, "127.0.0.2", "mx")
    await spool.flushed()
    assert spool.select("SELECT grant_number, source FROM granted") == [(message.grant, "127.0.0.2")]


async def test_a_full_disk_refuses_new_packets_and_keeps_what_was_decided(spool: Spool) -> None:
    (message,) = spool.take(packet_of(1, 1), time.time())
    await spool.taken()
    pages = spool._bodies.execute("PRAGMA page_count").fetchone()[0]
    spool._bodies.execute(f"PRAGMA max_page_count={pages}")
    spool.end(message, [delivered(message.id)])
    spool.take(packet_of(2, 200), time.time())
    taken, flushed = spool.taken(), spool.flushed()
    with pytest.raises(SpoolUnavailable, match="cannot be written"):
        await taken
    await flushed
    assert not spool.knows("p2")
    assert spool.lane_counts[message.lane] == [0, 0]
    assert len(spool.outbox(0, 10)) == 1
    spool._bodies.execute("PRAGMA max_page_count=1000000")
    spool.take(packet_of(2, 200), time.time())
    await spool.taken()
    assert len(spool.messages("1")) == 200


async def test_numbers_are_never_given_twice_even_across_restarts(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first = {spool.number() for _ in range(1_000)}
    spool = await reopened(spool, tmp_path)
    assert first.isdisjoint(spool.number() for _ in range(1_000))
    await spool.close()


async def test_an_event_batch_keeps_its_id_when_it_is_published_again(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.report([delivered(b"1" * 16)])
    await spool.flushed()
    before = spool.outbox(0, 10)
    spool = await reopened(spool, tmp_path)
    assert spool.outbox(0, 10) == before
    spool.published([before[0][0]])
    await spool.flushed()
    spool.report([delivered(b"2" * 16)])
    await spool.flushed()
    (number, wire), *_ = spool.outbox(0, 10)
    assert number != before[0][0]
    assert events.decode(wire)[0].id != events.decode(before[0][1])[0].id
    await spool.close()


class Told(Courier):
    """A courier without a process: what it is told is kept."""

    def __init__(self, slot_file: Path) -> None:
        super().__init__(1, slot_file, lambda courier, messages: None)
        self.messages: list[link.ToCourier] = []

    def say(self, message: link.ToCourier) -> None:
        self.messages.append(message)


async def test_a_slot_is_freed_by_the_flush_of_its_own_end_not_by_the_one_before(
    spool: Spool, tmp_path: Path
) -> None:
    courier = Told(tmp_path / "slots")
    spool.execute("DELETE FROM tombstone WHERE until < 0")
    first = spool.flushed()
    courier.settle(1, spool)
    begun = asyncio.Event()
    spool.before_commit = begun.set
    await begun.wait()
    assert not first.done(), "the commit of the first is under way"
    courier.settle(2, spool)  # its end gathers for the next commit: a kill now must find the slot taken
    await first
    assert courier.messages == [link.Settled((1,))]
    spool.execute("DELETE FROM tombstone WHERE until < 0")
    await spool.flushed()
    assert courier.messages == [link.Settled((1,)), link.Settled((2,))]
