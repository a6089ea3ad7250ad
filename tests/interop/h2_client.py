"""A client of HTTP/2 that decides for itself when it reads: h2 on a plain socket; WebSocket over it with wsproto."""

import collections
import socket
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
from checks import true
from ground import Front, Ground
from wsproto import ConnectionType, events
from wsproto.connection import Connection
from wsproto.extensions import PerMessageDeflate

PIECE = 16_384


class Stream:
    """What came on one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.informational: list[list] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.received = 0
        self.ended = False
        self.reset: int | None = None
        # With False the stream's window is not opened again: a reader that is slow.
        self.reads = True
        self.keeps = True
        self.unread = 0


class H2:
    """One connection; whatever waits reads for all streams."""

    def __init__(self, ground: Ground, proxyd: Front, secure: bool = False, window: int = 65_535) -> None:
        self.socket = socket.create_connection(("127.0.0.1", proxyd.tls if secure else proxyd.port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.socket = ground.trust(["h2"]).wrap_socket(self.socket, server_hostname="localhost")
            true(self.socket.selected_alpn_protocol() == "h2", "no HTTP/2 was agreed on")
        self.scheme = "https" if secure else "http"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.increment_flow_control_window(2**30)
        self.streams: dict[int, Stream] = collections.defaultdict(Stream)
        self.left: int | None = None
        self.held = bytearray()
        self.flush()
        self.until(
            lambda: h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS in self.h2.remote_settings or self.left is not None
        )

    def flush(self) -> None:
        if waiting := self.h2.data_to_send():
            self.socket.sendall(waiting)

    def until(self, done, seconds: float = 20) -> None:
        """Reads until it is so; the end of the connection counts too."""
        limit = time.monotonic() + seconds
        while not done():
            true(time.monotonic() < limit, "nothing came in time")
            self.socket.settimeout(max(0.01, limit - time.monotonic()))
            try:
                piece = self.socket.recv(262_144)
            except TimeoutError:
                continue
            except ConnectionError:
                piece = b""
            if not piece:
                self.left = -1 if self.left is None else self.left
                for stream in self.streams.values():
                    stream.reset = -1 if not stream.ended and stream.reset is None else stream.reset
                return
            self.take(piece)

    def take(self, piece: bytes) -> None:
        # Frame by frame, so that one after GOAWAY finds the state mended.
        for event in (event for frame in self.frames(piece) for event in self.h2.receive_data(frame)):
            if isinstance(event, h2.events.ConnectionTerminated):
                # h2 takes GOAWAY for the end; streams that are open go on, though (RFC 9113 section 6.8).
                self.left = event.error_code
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
                continue
            if not getattr(event, "stream_id", None):
                continue
            stream = self.streams[event.stream_id]
            if isinstance(event, h2.events.ResponseReceived):
                stream.headers = event.headers
                stream.status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.InformationalResponseReceived):
                stream.informational.append(event.headers)
            elif isinstance(event, h2.events.TrailersReceived):
                stream.trailers = event.headers
            elif isinstance(event, h2.events.DataReceived):
                stream.received += len(event.data)
                if stream.keeps:
                    stream.body += event.data
                if stream.reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    stream.unread += event.flow_controlled_length
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = event.error_code
        self.flush()

    def frames(self, piece: bytes):
        """Whole frames, one at a time."""
        self.held += piece
        while len(self.held) >= 9 and len(self.held) >= (size := 9 + int.from_bytes(self.held[:3], "big")):
            frame, self.held = self.held[:size], self.held[size:]
            yield bytes(frame)

    def ask(self, method: str, path: str, *headers: tuple[str, str], ends: bool = True) -> int:
        """Begins a request; its stream's number."""
        number = self.h2.get_next_available_stream_id()
        base = [(":method", method), (":scheme", self.scheme), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(number, [*base, *headers], end_stream=ends)
        self.streams[number] = Stream()
        self.flush()
        return number

    def send(self, number: int, body: bytes, ends: bool = False, seconds: float = 60) -> None:
        """Sends within the windows, reading while it waits for them."""
        at, stream = 0, self.streams[number]
        while at < len(body):
            self.until(lambda: stream.reset is not None or self.h2.local_flow_control_window(number) > 0, seconds)
            if stream.reset is not None:
                raise ConnectionError(f"the stream was reset: {stream.reset}")
            now = min(len(body) - at, self.h2.local_flow_control_window(number), PIECE)
            self.h2.send_data(number, body[at : at + now])
            self.flush()
            at += now
        if ends:
            self.h2.end_stream(number)
            self.flush()

    def whole(self, number: int, seconds: float = 60) -> Stream:
        """The answer, when it has ended."""
        stream = self.streams[number]
        self.until(lambda: stream.ended or stream.reset is not None, seconds)
        return stream

    def close(self) -> None:
        self.socket.close()


class Socket:
    """A WebSocket on a stream."""

    def __init__(self, connection: H2, path: str, protocols: str = "", compressed: bool = False) -> None:
        self.connection = connection
        enabled = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        true(connection.h2.remote_settings.get(enabled) == 1, "no extended CONNECT")
        deflate = PerMessageDeflate()
        more = [("sec-websocket-version", "13")]
        if protocols:
            more.append(("sec-websocket-protocol", protocols))
        if compressed:
            offer = deflate.offer()
            more.append(
                (
                    "sec-websocket-extensions",
                    f"permessage-deflate; {offer}" if isinstance(offer, str) else "permessage-deflate",
                )
            )
        number = connection.h2.get_next_available_stream_id()
        base = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", connection.scheme)]
        connection.h2.send_headers(number, [*base, (":authority", "localhost"), (":path", path), *more])
        connection.flush()
        self.number, self.stream = number, connection.streams[number]
        connection.until(lambda: self.stream.status or self.stream.reset is not None)
        true(self.stream.status == 200, f"the handshake was answered {self.stream.status}, reset {self.stream.reset}")
        self.headers = {name.decode(): value.decode() for name, value in self.stream.headers}
        agreed = self.headers.get("sec-websocket-extensions", "")
        if agreed:
            deflate.finalize(agreed)
        self.deflates = bool(agreed)
        self.wire = Connection(ConnectionType.CLIENT, [deflate] if agreed else [])
        self.closed: tuple[int, str | None] | None = None
        self.pongs: list[bytes] = []
        self.messages: collections.deque = collections.deque()
        self.parts: list = []

    def say(self, event: events.Event) -> None:
        self.connection.send(self.number, self.wire.send(event))

    def listen(self, done, seconds: float = 20) -> None:
        """Takes what comes until it is so, or the stream has ended."""

        def turn() -> bool:
            if self.stream.body:
                self.wire.receive_data(bytes(self.stream.body))
                self.stream.body.clear()
                for event in self.wire.events():
                    self.heed(event)
            return done() or self.stream.ended or self.stream.reset is not None

        self.connection.until(turn, seconds)

    def heed(self, event: events.Event) -> None:
        if isinstance(event, events.Ping):
            if self.wire.state.name == "OPEN":
                self.say(event.response())
        elif isinstance(event, events.Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, events.CloseConnection):
            self.closed = (event.code, event.reason)
            if self.wire.state.name == "REMOTE_CLOSING":
                self.say(event.response())
        elif isinstance(event, (events.TextMessage, events.BytesMessage)):
            self.parts.append(event.data)
            if event.message_finished:
                empty = "" if isinstance(event, events.TextMessage) else b""
                self.messages.append(
                    empty.join(self.parts) if isinstance(empty, str) else b"".join(bytes(part) for part in self.parts)
                )
                self.parts = []

    def drop(self) -> None:
        """Ends it without ceremony."""
        if not self.stream.ended and self.stream.reset is None:
            self.connection.h2.reset_stream(self.number, 8)
            self.connection.flush()

    def heard(self, seconds: float = 60) -> object:
        """The next message."""
        self.listen(lambda: bool(self.messages), seconds)
        true(
            self.messages,
            f"no message came: closed {self.closed}, ended {self.stream.ended}, reset {self.stream.reset}",
        )
        return self.messages.popleft()
