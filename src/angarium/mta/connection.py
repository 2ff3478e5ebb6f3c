"""One connection of the engine's: finding a host that greets, carrying messages, ending cleanly.

Every message given to it ends as `Done` or `Returned`, every connection as `OpenFailed` or `Closed`,
after its last message's report.

Hosts are tried in order. A host that does not answer, or greets with 4xx, is passed over; so is one
that greets with 5xx, which RFC 5321 would let us take as final: in the field it is often one ill host of
several. When no host is left, the last thing a server said is the reply, and patterns judge it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol

from angarium.domain.email import Reply
from angarium.domain.sending import TlsPolicy
from angarium.mta import opening, tls
from angarium.mta.job import Job
from angarium.mta.judge import UNSENDABLE
from angarium.mta.link import Begun, Closed, Done, Host, Open, Opened, OpenFailed, Returned, Send, Verdict
from angarium.mta.reply import local_reply
from angarium.mta.smtp import RefusedError, Session
from angarium.mta.stream import Stream
from angarium.mta.timeouts import Timeouts

Outcome = Literal["replied", "doubtful", "unsendable"]
_BIND_WITHOUT_PORT: Final = 24
"""Linux: choose the port at connect, so that ports are shared over destinations."""
_ENCRYPTED: Final = (TlsPolicy.REQUIRED, TlsPolicy.REQUIRED_VERIFIED)


class Desk(Protocol):
    """What the courier does for its connections."""

    timeouts: Timeouts
    broken_tls: tls.BrokenHosts
    tls_contexts: tls.Contexts

    def report(self, message: Begun | Opened | OpenFailed | Done | Returned | Closed) -> None: ...
    def verdict(self, reply: Reply, isp: int) -> Verdict: ...
    def prepare(self, job: Job, connection: Connection, extensions: Mapping[str, str]) -> Reply | None:
        """Builds the message for a server that offers these, or says why it cannot be sent.

        With `job.message` still None it is being signed; `Connection.wake` is called afterwards.
        """

    def take_slot(self, job: Job, session: Session) -> bool:
        """False: none is free; the session is resumed when one is."""

    def keep_reply(self, job: Job, reply: Reply) -> None: ...
    def forget(self, connection: Connection) -> None: ...


class Connection:
    """From `Open` to `OpenFailed` or `Closed`."""

    def __init__(self, desk: Desk, order: Open) -> None:
        self.order = order
        self._desk = desk
        self._clock = asyncio.get_running_loop().time
        self._jobs: deque[Job] = deque()
        self._begun = 0
        self._closing = False
        self._over = False
        self._host = order.hosts[0] if order.hosts else Host("", "")
        self._session: Session | None = None
        self._opened = False
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._open())
        self._task.add_done_callback(_expose)

    # ── orders ──

    def send(self, order: Send) -> None:
        self._jobs.append(Job(order))
        if self._over:
            self._return_all()
        else:
            self.wake()

    def close(self) -> None:
        self._closing = True
        self.wake()

    def recall(self, seqs: set[int]) -> None:
        self._return([job for job in self._jobs if job.send.seq in seqs], recalled=True)

    def drain(self) -> None:
        """What has begun is finished, the rest goes back."""
        self._return_all()
        self._closing = True
        if not self._opened:
            self._task.cancel()
        self.wake()

    def orphaned(self) -> None:
        """The engine is gone: nothing more is written."""
        self._jobs.clear()
        if self._session is not None:
            self._session.fall_silent()
        self._task.cancel()

    @property
    def has_dot(self) -> bool:
        return self._session is not None and self._session.has_dot

    def check(self, now: float) -> None:
        if self._session is not None:
            self._session.check(now)

    def wake(self) -> None:
        """Something may be begun now."""
        if self._opened and self._session is not None:
            self._prepare()
            self._session.pump()

    # ── opening ──

    async def _open(self) -> None:
        try:
            failure = await self._try_hosts()
        except asyncio.CancelledError:
            await self._part()
            self._return_all()
            self._finish(Closed(self.order.connection))
            return
        if failure is None:
            self._desk.report(Opened(self.order.connection, self._host, self._stream.tls))
            self._opened = True
            self._prepare()
            assert self._session is not None
            self._session.start()
        else:
            isp = self._jobs[0].send.isp if self._jobs else 0
            self._return_all()
            verdict = self._desk.verdict(failure, isp)
            self._finish(OpenFailed(self.order.connection, failure, self._host.name, verdict))

    async def _try_hosts(self) -> Reply | None:
        """None when a session stands; otherwise the most telling failure: a server's word before ours."""
        failure = local_reply(451, "4.4.4", "no host has an address to connect to", "connect")
        for host in self._fitting_hosts():
            self._host = host
            for encrypt in self._ways(host):
                try:
                    await self._try(host, encrypt)
                except RefusedError as refused:
                    await self._part()
                    if failure.local or not refused.reply.local:
                        failure = refused.reply
                    if refused.reply.stage == "local":
                        return failure  # our own address is at fault: no other host will do better
                    if refused.reply.stage != "tls":
                        break
                else:
                    return None
        return failure

    def _fitting_hosts(self) -> list[Host]:
        """Those of the source address's family."""
        six = ":" in self.order.source
        return [host for host in self.order.hosts if not self.order.source or (":" in host.ip) is six]

    def _ways(self, host: Host) -> Iterator[bool]:
        """With TLS, then – where that is allowed and TLS was what failed – without."""
        if self.order.tls in _ENCRYPTED:
            yield True
            return
        if self.order.tls is TlsPolicy.OPPORTUNISTIC and not self._desk.broken_tls.known(
            host.ip, self._clock()
        ):
            yield True
            self._desk.broken_tls.add(host.ip, self._clock())
        yield False

    async def _try(self, host: Host, encrypt: bool) -> None:
        session = await self._connect(host)
        await opening.greeting(session)
        await opening.hello(session, self.order.helo)
        if encrypt:
            await self._encrypt(session, host)
        if self.order.username:
            await opening.login(session, self.order.username, self.order.password)

    async def _encrypt(self, session: Session, host: Host) -> None:
        if "STARTTLS" not in session.extensions:
            if self.order.tls in _ENCRYPTED:
                raise RefusedError(local_reply(451, "4.7.4", f"{host.name} does not offer STARTTLS", "tls"))
            return
        await opening.start_tls(session, self._desk.tls_contexts.of(self.order.tls), host.name or host.ip)
        await opening.hello(session, self.order.helo)

    async def _connect(self, host: Host) -> Session:
        loop = asyncio.get_running_loop()
        sock = self._socket(host)
        session = Session(self, self._desk.timeouts)
        self._stream = session.stream = Stream(session, sock)
        self._gone = loop.create_future()
        try:
            async with asyncio.timeout(self._desk.timeouts.connect):
                await loop.sock_connect(sock, (host.ip, host.port))
            await loop.create_connection(lambda: session.stream, sock=sock)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            why = os.strerror(error.errno) if error.errno else "timed out"  # asyncio hides the reason
            place = f"{host.name}[{host.ip}]:{host.port}"
            raise RefusedError(local_reply(451, "4.4.1", f"connect to {place}: {why}", "connect")) from error
        self._session = session
        return session

    def _socket(self, host: Host) -> socket.socket:
        family = socket.AF_INET6 if ":" in host.ip else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.order.source:
                sock.setsockopt(socket.IPPROTO_IP, _BIND_WITHOUT_PORT, 1)
                sock.bind((self.order.source, 0))
        except OSError as error:
            sock.close()
            text = f"cannot send from {self.order.source}: {error.strerror or error}"
            raise RefusedError(local_reply(451, "4.3.5", text, "local")) from error
        return sock

    async def _part(self) -> None:
        """Ends a session that was refused, and waits until it is gone."""
        session, self._session = self._session, None
        if session is None:
            return
        if not session.leave():
            session.abort()
        while not self._gone.done():
            session.check(self._clock())
            await asyncio.wait([self._gone], timeout=0.05)

    # ── smtp.Owner ──

    def next_job(self) -> Job | None:
        if self._spent or not self._jobs or self._jobs[0].message is None:
            return None
        job = self._jobs.popleft()
        self._begun += 1
        self._desk.report(Begun((job.send.seq,)))
        self._prepare()
        return job

    def may_end(self, job: Job) -> bool:
        assert self._session is not None
        return self._desk.take_slot(job, self._session)

    def ended(self, job: Job, reply: Reply, *, doubtful: bool = False) -> None:
        if job.slot >= 0 and not doubtful:
            self._desk.keep_reply(job, reply)
        self._report_done(
            job, reply, "doubtful" if doubtful else "replied", self._desk.verdict(reply, job.send.isp)
        )

    def idle(self) -> None:
        if self._spent or (self._closing and not self._jobs):
            assert self._session is not None
            self._session.leave()

    def over(self) -> None:
        self._over = self._opened
        if self._over:
            self._return_all()

    def gone(self, reply: Reply | None) -> None:
        self._gone.set_result(None)
        if self._opened:
            self._over = True
            self._return_all()
            self._finish(Closed(self.order.connection, reply))

    # ── reports ──

    @property
    def _spent(self) -> bool:
        return self._begun >= self.order.max_messages

    def _prepare(self) -> None:
        """Builds the next message while the one before is on its way."""
        assert self._session is not None
        while self._jobs and not self._spent and not self._over:
            job = self._jobs[0]
            if job.message is not None or job.preparing:
                return
            impossible = self._desk.prepare(job, self, self._session.extensions)
            if impossible is None:
                return
            self._jobs.popleft()
            self._report_done(job, impossible, "unsendable", UNSENDABLE)

    def _report_done(self, job: Job, reply: Reply, outcome: Outcome, verdict: Verdict) -> None:
        send, host = job.send, self._host.name or self._host.ip
        connection = self.order.connection
        self._desk.report(
            Done(connection, send.seq, send.grant, outcome, reply, verdict, host, self._stream.tls, job.slot)
        )

    def _return_all(self) -> None:
        self._return(list(self._jobs))

    def _return(self, jobs: Sequence[Job], *, recalled: bool = False) -> None:
        if jobs:
            for job in jobs:
                self._jobs.remove(job)
            seqs = tuple(job.send.seq for job in jobs)
            self._desk.report(Returned(self.order.connection, seqs, recalled))

    def _finish(self, last_report: OpenFailed | Closed) -> None:
        self._desk.report(last_report)
        self._desk.forget(self)


def _expose(task: asyncio.Task[None]) -> None:
    """What went wrong in it is a defect: the loop's exception handler gets it."""
    if not task.cancelled():
        task.result()
