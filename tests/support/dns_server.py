"""A DNS server for tests: a zone given as a dictionary, on a free loopback port, UDP and TCP.

    zone = {
        "example.com": {"MX": ["10 mx1.example.com."], "TXT": ['"v=spf1 -all"']},
        "mx1.example.com": {"A": ["127.0.0.2"]},
        "broken.example": SERVFAIL,
        "mute.example": SILENT,
    }

Names that are not there do not exist (NXDOMAIN). The zone may be changed while it runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SERVFAIL = "SERVFAIL"
SILENT = "SILENT"
Zone = dict[str, Mapping[str, list[str]] | str]


class DnsServer:
    """`queries` counts questions as ("example.com", "MX")."""

    def __init__(self, zone: Zone, ttl: int = 300) -> None:
        self.zone = zone
        self.ttl = ttl
        self.queries: Counter[tuple[str, str]] = Counter()
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._stream, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()

    def answer(self, wire: bytes) -> bytes | None:
        """The reply; None: silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        [question] = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries[name, kind] += 1
        records = self.zone.get(name)
        if records == SILENT:
            return None
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA | dns.flags.RA
        if records is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif isinstance(records, str):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif kind in records:
            reply.answer.append(dns.rrset.from_text_list(question.name, self.ttl, "IN", kind, records[kind]))
        return reply.to_wire()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                if reply := self.answer(await reader.readexactly(size)):
                    writer.write(len(reply).to_bytes(2, "big") + reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if reply := self._server.answer(data):
            self._transport.sendto(reply, address)  # type: ignore[attr-defined]
