"""The client's side of SMTP (RFC 5321) on one connection.

A session is opened by a conversation, one command and one reply after another (`mta.opening`). Then
transactions run through a state machine fed by replies, with no task, future or timer a message:
`_expected` lists the replies still to come, in order, and what each is about.

With PIPELINING (RFC 2920), MAIL, RCPT and DATA leave in one write, and the next message's stand
right behind the final dot of the one before, so that a message costs one round trip.

Never: a second recipient in a transaction; a command after a reply that ended the session; a dot
without the owner's leave.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, Literal, Protocol

from angarium.domain.email import Reply
from angarium.mta.job import Job
from angarium.mta.reply import ProtocolError, RawReply, Stage, local_reply
from angarium.mta.stream import Stream
from angarium.mta.timeouts import Timeouts

Step = Stage | Literal["void"]
"""A stage, or the dot that ends a DATA taken by mistake."""
AT_ONCE: Final = 60_000
"""Octets up to which message and dot leave in one write; for more, the dot waits until all has left."""
_PASSED: Final = ("mail", "rcpt", "rset")
_DOT: Final = b".\r\n"
_DATA: Final = b"DATA\r\n"
_RSET: Final = b"RSET\r\n"


class RefusedError(Exception):
    """The opening failed; `reply` says how."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class Owner(Protocol):
    """What a session asks and tells while it runs."""

    def next_job(self) -> Job | None:
        """A message to begin now, if there is one; it counts as begun."""

    def may_end(self, job: Job) -> bool:
        """Leave to write the final dot. False: later, `Session.resume` is called then."""

    def ended(self, job: Job, reply: Reply, *, doubtful: bool = False) -> None:
        """A transaction has ended so."""

    def idle(self) -> None:
        """Nothing is on its way."""

    def over(self) -> None:
        """No other message will be begun."""

    def gone(self, reply: Reply | None) -> None:
        """The connection is gone on both sides; `reply` is what the server ended it with."""


class Session:
    """One connection, from the greeting to the end."""

    def __init__(self, owner: Owner, timeouts: Timeouts) -> None:
        self._owner = owner
        self._timeouts = timeouts
        self._patience: Mapping[str, float] = timeouts.by_step()
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + timeouts.banner
        self._expected: deque[tuple[Step, Job | None]] = deque()
        self._answer: asyncio.Future[RawReply] | None = None
        self._early: deque[RawReply] = deque()
        self._held: tuple[Job, list[bytes]] | None = None
        self._backlog = 0
        self._started = False
        self._reset = False
        self._over = False
        self._quitting = False
        self._silent = False
        self._cause: Reply | None = None
        self.extensions: dict[str, str] = {}
        """What EHLO offered: keyword → parameters."""
        self.pipelining = False
        self.stream: Stream
        """Set by who connects."""

    # ── opening ──

    @property
    def overheard(self) -> bool:
        """True when replies have come that nobody has asked for yet."""
        return bool(self._early)

    async def ask(self, line: str, stage: Stage) -> RawReply:
        """One command and its reply. Raises `RefusedError` when none comes."""
        self.stream.write([f"{line}\r\n".encode()])
        return await self.read(stage)

    async def read(self, stage: Stage) -> RawReply:
        """The next reply. Raises `RefusedError` when none comes."""
        if self.stream.lost or self._over:
            raise RefusedError(
                self._cause or local_reply(451, "4.4.2", "the server closed the connection", stage)
            )
        if self._early:
            return self._early.popleft()
        self._answer = asyncio.get_running_loop().create_future()
        self._expected.append((stage, None))
        self.patience(stage)
        return await self._answer

    def patience(self, stage: Step) -> None:
        """From now on, waits as long as `stage` may take."""
        self._deadline = self._clock() + self._patience[stage]

    def start(self) -> None:
        """The opening is over: from now on the owner is asked for messages."""
        self._started = True
        self.pipelining = "PIPELINING" in self.extensions
        if self._early:
            self._unasked(self._early[0])
        self.pump()

    # ── transactions ──

    @property
    def busy(self) -> bool:
        """True while anything is on its way, the end of the session included."""
        return bool(self._expected) or self._held is not None or self._over or not self._started

    def pump(self) -> None:
        """Begins the next message if nothing is on its way."""
        if self.busy or self._silent or not self.stream.quiet():
            return
        job = self._owner.next_job()
        if job is None:
            self._owner.idle()
        else:
            self.stream.write([self._opening(job)])
            self.patience("mail")

    def resume(self) -> None:
        """Goes on with a message whose dot had to wait."""
        if self._held is None or self.stream.jammed or self._silent or self._over:
            return
        job, pieces = self._held
        if not self._owner.may_end(job):
            return
        self._held = None
        self._expected.append(("dot", job))
        following = self._owner.next_job() if self.pipelining else None
        self.stream.write([*pieces, _DOT if following is None else _DOT + self._opening(following)])
        self.patience("dot")

    def _opening(self, job: Job) -> bytes:
        """What begins a transaction: all of it, or its first command without PIPELINING."""
        reset, self._reset = self._reset, False
        if reset:
            self._expected.append(("rset", job))
            if not self.pipelining:
                return _RSET
        self._expected.append(("mail", job))
        if not self.pipelining:
            return self._mail(job)
        self._expected += (("rcpt", job), ("data", job))
        return b"".join((_RSET if reset else b"", self._mail(job), _rcpt(job), _DATA))

    def _mail(self, job: Job) -> bytes:
        assert job.message is not None
        size = f" SIZE={job.message.size}" if "SIZE" in self.extensions else ""
        body = " BODY=8BITMIME" if job.message.eight_bit else ""
        utf8 = " SMTPUTF8" if job.message.utf8 else ""
        return f"MAIL FROM:<{job.sender}>{size}{body}{utf8}\r\n".encode()

    def _step(self, stage: Step, job: Job, command: bytes) -> None:
        if not self.pipelining:
            self._expected.append((stage, job))
            self.stream.write([command])

    def _advance(self, stage: Step, job: Job, reply: RawReply) -> None:
        kind = reply.code // 100
        if reply.code == 421:
            self._shut_by_server(stage, job, reply)
        elif stage == "dot":
            self._owner.ended(job, reply.reply("dot"))
        elif stage == "void":
            self._owner.ended(job, job.failure or reply.reply("data"))
        elif stage == "rset":
            self._step("mail", job, self._mail(job))
        elif stage == "data":
            self._data_answered(job, reply)
        elif kind != 2:
            self._refuse(stage, job, reply)
        elif stage == "mail":
            self._step("rcpt", job, _rcpt(job))
        else:
            self._step("data", job, _DATA)

    def _refuse(self, stage: Step, job: Job, reply: RawReply) -> None:
        if job.failure is None:
            job.failure = reply.reply(_known(stage))
            self._reset = stage != "mail" or reply.code == 503
        if not self.pipelining or stage == "data":
            self._owner.ended(job, job.failure)

    def _data_answered(self, job: Job, reply: RawReply) -> None:
        if reply.code // 100 != 3:
            if job.failure is None and reply.code // 100 == 2:
                said = reply.reply("data")
                job.failure = local_reply(451, "4.5.0", f"DATA was answered {said.code} {said.text}", "data")
                self._reset = True
            self._refuse("data", job, reply)
        elif job.failure is not None:
            # RFC 2920 section 3.1: DATA was taken though nobody is to get it; a dot alone ends it.
            self._reset = False
            self._expected.append(("void", job))
            self.stream.write([_DOT])
        else:
            self._send(job)

    def _send(self, job: Job) -> None:
        assert job.message is not None
        pieces = job.message.wire()
        if job.message.size > AT_ONCE and not self._silent:
            self.stream.write(pieces)
            pieces = []
            self._backlog = self.stream.waiting
            self._deadline = self._clock() + self._timeouts.block
        self._held = job, pieces
        self.resume()

    # ── the end ──

    def leave(self) -> bool:
        """QUIT, when nothing is on its way, and then the peer's end of the connection. False: not now."""
        if self._expected or self._held is not None or self._over:
            return False
        self._over = self._quitting = self._started = True
        self._owner.over()
        self.stream.write([b"QUIT\r\n"])
        self._deadline = self._clock() + self._timeouts.quit
        return True

    def fall_silent(self) -> None:
        """Writes nothing more; goes on reading the replies to final dots."""
        self._silent = True
        if not self.has_dot:
            self.abort()

    @property
    def has_dot(self) -> bool:
        """True while the reply to a final dot is awaited."""
        return any(stage == "dot" for stage, _ in self._expected)

    def abort(self, cause: Reply | None = None) -> None:
        """The connection is of no more use."""
        self._cause = self._cause or cause
        self._over = True
        self._owner.over()
        self.stream.abort()

    def check(self, now: float) -> None:
        """To be called now and then: ends what has waited too long."""
        if self._held is not None and self.stream.jammed:
            waiting = self.stream.waiting
            if waiting < self._backlog:
                self._deadline = now + self._timeouts.block
            self._backlog = waiting
        elif self._started and not (self._expected or self._over or self.stream.puzzled):
            return
        if now >= self._deadline:
            stage = self._expected[0][0] if self._expected else "data"
            self.abort(
                local_reply(451, "4.4.2", f"timed out waiting for the server ({stage})", _known(stage))
            )

    def _shut_by_server(self, stage: Step, job: Job | None, reply: RawReply) -> None:
        """421: the server will close; what it answered gets the reply, the rest a local one."""
        self._cause = reply.reply(_known(stage))
        if job is not None:
            self._owner.ended(job, job.failure or self._cause)
        self._over = True
        self._end_jobs(skip=job)
        self._owner.over()
        self.stream.half_close()
        self._deadline = self._clock() + self._timeouts.quit

    def _end_jobs(self, skip: Job | None = None) -> None:
        """Every transaction that has begun ends now, without its server's answer."""
        under_way = dict.fromkeys(job for _, job in self._expected if job is not None and job is not skip)
        dotted = {job for stage, job in self._expected if stage == "dot"}
        if self._held is not None:
            under_way[self._held[0]] = None
        self._expected.clear()
        self._held = None
        for job in under_way:
            self._owner.ended(job, job.failure or self._no_answer(job in dotted), doubtful=job in dotted)

    def _no_answer(self, dotted: bool) -> Reply:
        text = f"{self._cause.code} {self._cause.text}" if self._cause else "the server closed the connection"
        return local_reply(451, "4.4.2", text, "dot" if dotted else "data")

    # ── Listener ──

    def replies(self, replies: list[RawReply]) -> None:
        for reply in replies:
            if self._over and self._started:
                self._farewell()
                return
            self._take(reply)
        if self._expected and replies:
            self.patience(self._expected[0][0])
        elif self._started:
            self.pump()

    def _take(self, reply: RawReply) -> None:
        if not self._expected:
            if self._started:
                self._unasked(reply)
            else:
                self._early.append(reply)
            return
        stage, job = self._expected.popleft()
        if self.pipelining and reply.code == 250 and stage in _PASSED:
            return  # by far the most frequent case: nothing follows from it
        if job is not None:
            self._advance(stage, job, reply)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    def _unasked(self, reply: RawReply) -> None:
        if reply.code == 421:
            held = self._held[0] if self._held else None
            self._held = None
            self._shut_by_server("data", held, reply)
        else:
            said = reply.reply("local")
            self.broken(ProtocolError(f"the server said {said.code} {said.text} unasked"))

    def _farewell(self) -> None:
        if self._quitting:
            self._quitting = False
            self.stream.half_close()
            self._deadline = self._clock() + self._timeouts.quit

    def broken(self, error: ProtocolError | ssl.SSLError) -> None:
        self.abort(local_reply(451, "4.5.0", str(error), self._stage()))

    def writable(self) -> None:
        self.resume()

    def lost(self) -> None:
        closed = local_reply(451, "4.4.2", "the server closed the connection", self._stage())
        self._over = True
        self._end_jobs()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RefusedError(self._cause or closed))
        server_said = self._cause is not None and not self._cause.local
        self._owner.gone(self._cause if server_said else None)

    def _stage(self) -> Stage:
        """Where the session is."""
        if self._expected:
            return _known(self._expected[0][0])
        return "data" if self._started else "banner"


def _rcpt(job: Job) -> bytes:
    return f"RCPT TO:<{job.recipient}>\r\n".encode()


def _known(step: Step) -> Stage:
    return "data" if step == "void" else step
