"""Packet rows: what was decided to be sent, exactly, before it is published.

`recipients` is msgpack: a list of [message id (16 octets), address, profile, subscription, contact hash],
in the order of the packet (`mailing.port.PacketRecipient`). Subscription 0 is a test send. Once as old as
events are kept, the list is emptied; the count stays for reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from angarium.mailing.port import NewPacket, PacketRecipient, PacketRow, Plan
from angarium.web.mailings.models import LaunchState, Packet

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[PacketRecipient, ...])
NOBODY: Final = _encoder.encode(())


def encode(recipients: Sequence[PacketRecipient]) -> bytes:
    return _encoder.encode(recipients)


def decode(recipients: bytes | memoryview) -> tuple[PacketRecipient, ...]:
    return _decoder.decode(recipients)


def add(plan: Plan, packets: Sequence[NewPacket]) -> tuple[int, ...]:
    """Their numbers, in order."""
    rows = [
        Packet(
            launch_id=plan.launch,
            account_id=plan.account,
            queue=packet.queue,
            isp=packet.isp,
            recipients=encode(packet.recipients),
            count=len(packet.recipients),
        )
        for packet in packets
    ]
    return tuple(row.pk for row in Packet.objects.bulk_create(rows))


def replace(plan: Plan, numbers: Sequence[int]) -> None:
    """Removes rows, never published, whose recipients are in other rows now."""
    if numbers:
        Packet.objects.filter(launch_id=plan.launch, pk__in=numbers, published=False).delete()


def confirm(plan: Plan, numbers: Sequence[int]) -> None:
    if numbers:
        Packet.objects.filter(launch_id=plan.launch, pk__in=numbers).update(published=True)


def unconfirmed(launch: int) -> list[PacketRow]:
    """In the order of their numbers."""
    rows = Packet.objects.filter(launch_id=launch, published=False).order_by("pk")
    return [PacketRow(row.pk, row.queue, row.isp, decode(row.recipients)) for row in rows]


def all_recipients(launch: int) -> Iterator[PacketRecipient]:
    """Everybody who is in a packet of the launch."""
    rows = Packet.objects.filter(launch_id=launch).order_by("pk").values_list("recipients", flat=True)
    for recipients in rows.iterator(chunk_size=500):
        yield from decode(recipients)


def forget(before: datetime, limit: int) -> int:
    """Drops the recipients, not the counts, of some packets older than this; how many packets.

    Those of a launch that can still be resumed stay: it knows by them whom it has reached.
    """
    old = Packet.objects.filter(launch__state=LaunchState.PREPARED, published=True, created__lt=before)
    old = old.exclude(recipients=NOBODY).order_by("pk")
    numbers = list(old.values_list("pk", flat=True)[:limit])
    return Packet.objects.filter(pk__in=numbers).update(recipients=NOBODY)
