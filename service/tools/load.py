"""A load generator: ready-made requests over kept-alive connections, one thread waiting for all of them."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from service.tools.doctor import NotReady

MOST_S = 300.0
_TICKS_PER_S = 100


@dataclass
class Round:
    """What one burst of requests met."""

    elapsed_s: float
    latencies_s: list[float]
    statuses: list[int]
    bodies: list[bytes]
    """In the order of the requests given."""

    @property
    def per_s(self) -> float:
        return len(self.statuses) / self.elapsed_s

    def percentile_ms(self, q: float) -> float:
        return round(float(np.percentile(self.latencies_s, q)) * 1000, 2)


@dataclass
class _Lane:
    """One connection with the requests that go over it, one after another."""

    sock: socket.socket
    todo: deque[int]
    current: int = -1
    sent: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def request_bytes(path: str, authority: str, headers: dict[str, str], body: bytes) -> bytes:
    """A whole HTTP/1.1 POST."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {authority}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body


def burst(url: str, requests: Sequence[bytes], lanes: Sequence[Iterable[int]]) -> Round:
    """Send all requests, those of one lane in order over one connection, and time them."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    selector = selectors.DefaultSelector()
    n = len(requests)
    done = Round(0.0, [0.0] * n, [0] * n, [b""] * n)
    open_lanes = [_Lane(_connect(host, port), deque(lane)) for lane in lanes]
    open_lanes = [lane for lane in open_lanes if lane.todo]
    left = sum(len(lane.todo) for lane in open_lanes)
    began = time.perf_counter()
    try:
        for lane in open_lanes:
            selector.register(lane.sock, selectors.EVENT_READ, lane)
            _send_next(lane, requests)
        while left:
            ready = selector.select(timeout=5)
            if time.perf_counter() - began > MOST_S:
                raise NotReady(f"{left} of {n} requests were unanswered after {MOST_S:.0f} s")
            for key, _ in ready:
                lane = key.data
                if _receive(lane, done):
                    left -= 1
                    _send_next(lane, requests)
        done.elapsed_s = time.perf_counter() - began
    finally:
        selector.close()
        for lane in open_lanes:
            lane.sock.close()
    return done


def _connect(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _send_next(lane: _Lane, requests: Sequence[bytes]) -> None:
    if lane.todo:
        lane.current = lane.todo.popleft()
        lane.sent = time.perf_counter()
        lane.sock.sendall(requests[lane.current])


def _receive(lane: _Lane, done: Round) -> bool:
    """Read what has come; True once the current answer is whole."""
    piece = lane.sock.recv(65536)
    if not piece:
        raise NotReady("the server closed a connection in the middle of a round; see the lines above")
    lane.received += piece
    head = lane.received.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _content_length(bytes(lane.received[:head]))
    if len(lane.received) < head + 4 + length:
        return False
    done.latencies_s[lane.current] = time.perf_counter() - lane.sent
    done.statuses[lane.current] = int(lane.received[9:12])
    done.bodies[lane.current] = bytes(lane.received[head + 4 : head + 4 + length])
    del lane.received[: head + 4 + length]
    return True


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise NotReady("the server answered without a content-length, which this load generator cannot read")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and its descendants so far (Linux)."""
    return sum(_own_cpu_s(one) for one in (pid, *descendants(pid)))


def descendants(pid: int) -> list[int]:
    """The processes that a process has begun, and those that they have (Linux)."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in path.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _own_cpu_s(pid: int) -> float:
    # The name in brackets may hold blanks; what follows it does not.
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after[11]) + int(after[12])) / _TICKS_PER_S
