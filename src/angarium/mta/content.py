"""What a courier knows of packets: their content compiled, and their frames' dictionary."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final

import msgspec

from angarium.domain.email import MailBody, MailContent
from angarium.domain.message import FrameReader
from angarium.domain.sending import Isp
from angarium.mta.address import return_path, token_of, wire_address
from angarium.mta.job import Job
from angarium.mta.link import Content
from angarium.mta.mime import Message, Template

TEMPLATES: Final = 256
"""Compiled contents kept; packets of one launch share one."""
READERS: Final = 256
"""Frame readers kept; each holds some 80 KB."""

_content = msgspec.msgpack.Decoder(MailContent)
_body = msgspec.msgpack.Decoder(MailBody)


@lru_cache(maxsize=READERS)
def _reader(first_frame: bytes) -> FrameReader:
    return FrameReader(first_frame)


class Dates:
    """The Date field's value, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def at(self, now: float) -> bytes:
        if int(now) != self._second:
            self._second = int(now)
            self._value = formatdate(now).encode()
        return self._value


class Templates:
    """Templates by content and ISP settings, the latest used kept."""

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        self._blobs = blobs
        self._kept: OrderedDict[tuple[bytes, Isp | None], Template] = OrderedDict()

    def get(self, content: bytes, isp: Isp | None) -> Template:
        """Raises `InvalidInput`, `KeyError` (a blob is missing), `msgspec.MsgspecError`."""
        key = content, isp
        template = self._kept.get(key)
        if template is None:
            template = self._kept[key] = Template(_content.decode(content), isp, self._blobs)
            if len(self._kept) > TEMPLATES:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return template


class PacketContent:
    """One packet's share of what its messages need."""

    def __init__(self, content: Content, templates: Templates) -> None:
        self.sender = content.sender
        self._content = bytes(content.content)
        self._templates = templates
        self._first_frame = content.first_frame
        self._by_isp: dict[int, Template] = {}

    def forget_settings(self) -> None:
        """ISP settings may have changed."""
        self._by_isp.clear()

    def build(self, job: Job, isp: Callable[[int], Isp | None], date: bytes, eight_bit: bool) -> Message:
        """The job's message; sets its envelope. Raises what `Templates.get` does, and `CorruptPacket`."""
        send = job.send
        template = self._by_isp.get(send.isp)
        if template is None:
            template = self._by_isp[send.isp] = self._templates.get(self._content, isp(send.isp))
        body = _body.decode(_reader(self._first_frame).read(send.index, send.frame))
        to = wire_address(send.address)
        token = token_of(body, send.message)
        job.recipient = to.text
        job.from_domain = template.sender.domain
        job.sender = return_path(template.content, token)
        return template.build(body, to, token, date, eight_bit)
