#!/usr/bin/env python3
"""A Manyhands worker in Python 3.9 or later, without packages, for Linux.

    python3 examples/worker.py [--state DIR] [--name NAME] [--join HOST:PORT] [--cores N]
    python3 examples/worker.py --self-test protocol/golden.json

It joins the mesh of a state directory, where `manyhands issue --role worker --name NAME` has
made its certificate, and runs `exec:` and `noop:` tasks for its manager.
It was written from the published files alone: protocol/README.md says what a worker does,
and protocol/manyhands.json, which it reads at its start, what each message looks like.

From bytes to programs: MessagePack, Table, Member (who proves what), WebSocket,
Conversation (requests and answers), Output and Job (a program), Tasks, Relationship, Node.

Everything happens in one asyncio loop. What a frame says takes effect before the next one
is looked at: so between a frame and its effect there are callbacks, never an `await`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import errno
import fnmatch
import functools
import hashlib
import json
import math
import os
import random
import re
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

Body = dict[str, Any]
# What became of a request: the kind and body of its answer, or in lower case `timeout`,
# `disconnected`, `unreachable`, `protocol`, with nothing.
Settle = Callable[[str, Body], None]
Respond = Callable[[str, Body], None]
Timer = Optional[asyncio.TimerHandle]


def after(ms: float, run: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(max(0, ms) / 1000, run, *arguments)


def cancel(timer: Timer) -> None:
    if timer is not None:
        timer.cancel()


def now_ms() -> float:
    """Of a clock that no one sets: for everything that is waited for."""
    return time.monotonic() * 1000


def log(event: str, **fields: object) -> None:
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    print(f"{time.strftime('%H:%M:%S')} {event} {words}".rstrip(), file=sys.stderr, flush=True)


# -- MessagePack: plain values only, and only so much of them ---------------------------

MAX_DEPTH, MAX_VALUES, MAX_KEYS, MAX_KEY_BYTES = 32, 200_000, 4096, 255

INTEGERS = [  # header, form, least, most
    (0xCC, ">BB", 0, 2**8 - 1),
    (0xCD, ">BH", 0, 2**16 - 1),
    (0xCE, ">BI", 0, 2**32 - 1),
    (0xCF, ">BQ", 0, 2**64 - 1),
    (0xD0, ">Bb", -(2**7), -1),
    (0xD1, ">Bh", -(2**15), -1),
    (0xD2, ">Bi", -(2**31), -1),
    (0xD3, ">Bq", -(2**63), -1),
]
NUMBERS = {header: f">{form[2]}" for header, form, _, _ in INTEGERS}
NUMBERS.update({0xCA: ">f", 0xCB: ">d"})
# What begins with a length: how many bytes the length has.
BYTES, TEXTS = {0xC4: 1, 0xC5: 2, 0xC6: 4}, {0xD9: 1, 0xDA: 2, 0xDB: 4}
LISTS, MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}


class NotAFrame(ValueError):
    """The bytes are not one map of plain MessagePack within the limits."""


def pack(value: Any) -> bytes:
    out = bytearray()
    pack_into(out, value)
    return bytes(out)


def pack_into(out: bytearray, value: Any) -> None:
    if isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        pack_integer(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode()
        pack_length(out, len(data), 0xA0, 31, TEXTS)
        out += data
    elif isinstance(value, (bytes, bytearray)):
        pack_length(out, len(value), 0, -1, BYTES)
        out += value
    elif isinstance(value, (list, tuple)):
        pack_length(out, len(value), 0x90, 15, LISTS)
        for item in value:
            pack_into(out, item)
    elif isinstance(value, dict):
        pack_length(out, len(value), 0x80, 15, MAPS)
        for key, item in value.items():
            pack_into(out, key)
            pack_into(out, item)
    else:
        raise TypeError(f"Expected what MessagePack has, got {type(value).__name__}")


def pack_integer(out: bytearray, value: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    header, form = next((h, f) for h, f, least, most in INTEGERS if least <= value <= most)
    out += struct.pack(form, header, value)


def pack_length(out: bytearray, size: int, short: int, most: int, headers: dict[int, int]) -> None:
    if size <= most:
        out.append(short | size)
        return
    header, width = next((h, w) for h, w in headers.items() if size < 256**w)
    out.append(header)
    out += size.to_bytes(width, "big")


class Unpacker:
    """Reads one value; refuses as it goes, before anything large is built."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.values = data, 0, 0

    def frame(self) -> Body:
        value = self.value(0)
        if not isinstance(value, dict) or self.at != len(self.data):
            raise NotAFrame("not exactly one map")
        return value

    def take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise NotAFrame("bytes are missing")
        return self.data[start : self.at]

    def length(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def value(self, depth: int) -> Any:
        header = self.take(1)[0]
        if header < 0x80:
            return header
        if header >= 0xE0:
            return header - 256
        if header < 0x90 or header in MAPS:
            size = header & 15 if header < 0x90 else self.length(MAPS[header])
            return self.map(size, depth + 1)
        if header < 0xA0 or header in LISTS:
            size = header & 15 if header < 0xA0 else self.length(LISTS[header])
            self.count(size, depth + 1)
            return [self.value(depth + 1) for _ in range(size)]
        if header < 0xC0 or header in TEXTS:
            size = header & 31 if header < 0xC0 else self.length(TEXTS[header])
            return self.take(size).decode("utf-8", "replace")
        if header in BYTES:
            return self.take(self.length(BYTES[header]))
        if header in NUMBERS:
            form = NUMBERS[header]
            number = struct.unpack(form, self.take(struct.calcsize(form)))[0]
            is_whole = isinstance(number, float) and number.is_integer()
            return int(number) if is_whole else number
        if header in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[header]
        raise NotAFrame(f"header {header:#x}")

    def count(self, values: int, depth: int) -> None:
        self.values += values
        # Each value is a byte at least: more of them than bytes cannot be there.
        if depth > MAX_DEPTH or self.values > MAX_VALUES or values > len(self.data) - self.at:
            raise NotAFrame("too much")

    def map(self, size: int, depth: int) -> Body:
        self.count(2 * size, depth)
        if size > MAX_KEYS:
            raise NotAFrame("too many keys")
        result: Body = {}
        for _ in range(size):
            start = self.at
            key = self.value(depth)
            if not isinstance(key, str) or key == "__proto__" or len(key.encode()) > MAX_KEY_BYTES:
                raise NotAFrame(f"a bad key at byte {start}")
            result[key] = self.value(depth)
        if depth == 1 and len(result) != size:
            raise NotAFrame("a key twice")
        return result


def read_frame(data: bytes) -> Body:
    """A request {q, k, b, t} or an answer {a, k, b}; raises NotAFrame."""
    frame = Unpacker(data).frame()
    is_formed = set(frame) == {"q", "k", "b", "t"} or set(frame) == {"a", "k", "b"}
    if not is_formed or not isinstance(frame["k"], str):
        raise NotAFrame("neither a request nor an answer")
    for name in {"q", "a", "t"} & set(frame):
        if type(frame[name]) is not int or not 1 <= frame[name] < 2**53:
            raise NotAFrame(f"{name} is not an integer from 1")
    return frame


# -- Table: protocol/manyhands.json, and values judged by its schemas --------------------

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
Path = tuple[object, ...]


class Table:
    """Every exchange with its schemas (JSON Schema 2020-12, as far as the document uses it)."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        self.exchanges: dict[str, Body] = document["exchanges"]
        self.limits: Body = document["limits"]
        self.error: Body = document["error"]
        self.definitions: dict[str, Body] = document["$defs"]
        self.patterns: dict[str, re.Pattern[str]] = {}

    def fault(self, schema: Body, value: Any) -> Path | None:
        """Where the first wrong field is; None: there is none."""
        if "$ref" in schema:
            return self.fault(self.definitions[schema["$ref"].split("/")[-1]], value)
        if schema.get("x-msgpack") == "bin":
            is_right = isinstance(value, bytes) and len(value) <= schema["x-maxBytes"]
            return None if is_right else ()
        if "anyOf" in schema:
            faults = [self.fault(one, value) for one in schema["anyOf"]]
            return None if None in faults else max((f for f in faults if f is not None), key=len)
        if not self.is_of_type(schema, value) or not self.is_within(schema, value):
            return ()
        for key, inner, item in self.parts(schema, value):
            fault = self.fault(inner, item)
            if fault is not None:
                return (key, *fault)
        return None

    @staticmethod
    def is_of_type(schema: Body, value: Any) -> bool:
        words = [schema["const"]] if "const" in schema else schema.get("enum")
        if words is not None:  # True is 1 to Python alone
            return any(word == value and type(word) is type(value) for word in words)
        kind = schema.get("type")
        if kind is None:
            return True
        return isinstance(value, TYPES[kind]) and (kind != "integer" or not isinstance(value, bool))

    def is_within(self, schema: Body, value: Any) -> bool:
        if "not" in schema and self.fault(schema["not"], value) is None:
            return False
        if isinstance(value, str):
            size = len(value.encode("utf-16-le")) // 2
            is_sized = schema.get("minLength", 0) <= size <= schema.get("maxLength", math.inf)
            return is_sized and ("pattern" not in schema or self.matches(schema["pattern"], value))
        if isinstance(value, int):
            return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        if isinstance(value, list):
            return bool(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf))
        if isinstance(value, dict):
            names = schema.get("propertyNames", {})
            is_named = all(self.fault(names, key) is None for key in value)
            return is_named and len(value) <= schema.get("maxProperties", math.inf)
        return True

    def matches(self, pattern: str, text: str) -> bool:
        """As ECMA-262: `$` is the very end."""
        if pattern not in self.patterns:
            self.patterns[pattern] = re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))
        return self.patterns[pattern].search(text) is not None

    @staticmethod
    def parts(schema: Body, value: Any) -> Iterator[tuple[object, Body, Any]]:
        if isinstance(value, dict):
            for key in schema.get("required", []):
                if key not in value:
                    yield key, {"enum": []}, None
            properties, others = schema.get("properties", {}), schema.get("additionalProperties")
            for key, item in value.items():
                if key in properties:
                    yield key, properties[key], item
                elif isinstance(others, dict):
                    yield key, others, item
        if isinstance(value, list):
            first, rest = schema.get("prefixItems", []), schema.get("items", {})
            for index, item in enumerate(value):
                inner = first[index] if index < len(first) else rest
                yield index, inner if inner is not False else {"enum": []}, item


# -- Member: certificates, and who is believed --------------------------------------------

SUBPROTOCOL = "manyhands.v1"
ALPN = "manyhands/1"
GREETING_S = 5.0
MAX_HEAD_BYTES = 4096
ROLES = ("manager", "worker", "hub", "client")
URI = re.compile(r"mesh://([0-9a-f]{20})/([a-z]+)/([0-9a-f]{32})(?:\?[A-Za-z0-9*._%&=+-]{1,4096})?")
DNS = re.compile(r"([A-Za-z0-9_.-]{1,200})\.mesh\.internal")


class Refused(Exception):
    """The other end does not want to, or must not, be spoken with; `reason` is a word of manyhands.json."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Party:
    """Who is at the other end, by its certificate."""

    role: str
    node_id: str
    host_name: str


def der_items(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and the whole of each value in a sequence of DER."""
    at = 0
    while at < len(data):
        size, start = data[at + 1], at + 2
        if size & 128:
            start += size & 127
            size = int.from_bytes(data[at + 2 : start], "big")
        yield data[at], data[start : start + size], data[at : start + size]
        at = start + size


def spki_of(certificate: bytes) -> bytes:
    """The public key of a certificate (RFC 5280 section 4.1: the seventh field, after the version)."""
    (_, body, _), *_ = der_items(certificate)
    (_, signed, _), *_ = der_items(body)
    fields = [whole for tag, _, whole in der_items(signed) if tag != 0xA0]
    return fields[5]


def id_of(certificate: bytes, digits: int) -> str:
    return hashlib.sha256(spki_of(certificate)).hexdigest()[:digits]


class Streams:
    """A TCP connection that has come as far as a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> tuple[str, dict[str, str]]:
        try:
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError:
            raise Refused(431, "not-a-websocket") from None
        if len(text) > MAX_HEAD_BYTES:
            raise Refused(431, "not-a-websocket")
        first, *lines = text.split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return first, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def say(self, first: str, headers: dict[str, str], body: str = "") -> None:
        lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def accept_of(key: str) -> str:
    """RFC 6455 section 4.2.2."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


class Member:
    """This node as a member of its mesh: it shows its certificate, and reads those of others."""

    def __init__(self, authority: str, identity: str) -> None:
        with open(authority, encoding="ascii") as file:
            self.mesh_id = id_of(ssl.PEM_cert_to_DER_cert(file.read()), 20)
        cert, key = (os.path.join(identity, name) for name in ("cert.pem", "key.pem"))
        self.contexts: dict[bool, ssl.SSLContext] = {}
        for is_server in (True, False):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.check_hostname = False  # `identify` reads its names
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(authority)
            context.load_cert_chain(cert, key)
            context.set_alpn_protocols([ALPN])
            self.contexts[is_server] = context
        self.contexts[True].num_tickets = 0  # nothing is resumed
        with open(cert, encoding="ascii") as file:
            own = ssl.PEM_cert_to_DER_cert(file.read())
        # Python tells the names of a certificate that TLS has verified alone: of this one by its text.
        pattern = rb"mesh://([0-9a-f]{20})/([a-z]+)/([0-9a-f]{32})(?:\?([A-Za-z0-9*._%&=+-]{1,4096}))?\x82\x81?.([A-Za-z0-9_.-]{1,200})\.mesh\.internal"
        names = re.search(pattern, own, re.DOTALL)
        if names is None or names[2] != b"worker" or names[1].decode() != self.mesh_id:
            raise SystemExit(f"{cert} is not a worker's certificate of this mesh")
        self.me = Party("worker", id_of(own, 32), names[5].decode())
        given = urllib.parse.parse_qsl((names[4] or b"").decode(), keep_blank_values=True)
        labels = [value.partition("=") for name, value in given if name == "label"]
        self.issued = {f"issuer/{name}": value for name, _, value in labels}

    def identify(self, streams: Streams) -> Party:
        """Who shows a certificate that the authority signed; raises Refused."""
        tls = streams.writer.get_extra_info("ssl_object")
        der, shown = tls.getpeercert(binary_form=True), tls.getpeercert()
        if der is None or not shown:
            raise Refused(403, "no-certificate")
        names = shown.get("subjectAltName", ())
        if [kind for kind, _ in names] != ["URI", "DNS"]:
            raise Refused(403, "san")
        uri, dns = URI.fullmatch(names[0][1]), DNS.fullmatch(names[1][1])
        if uri is None or dns is None or uri[2] not in ROLES:
            raise Refused(403, "san")
        if uri[1] != self.mesh_id:
            raise Refused(403, "other-mesh")
        if uri[3] != id_of(der, 32):
            raise Refused(403, "id-mismatch")
        return Party(uri[2], uri[3], dns[1])

    async def dial(self, host: str, port: int) -> tuple[Streams, Party]:
        """Both ends know each other; raises Refused, OSError or EOFError."""
        tls = self.contexts[False]
        streams = Streams(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=""))
        try:
            party = self.identify(streams)
            await self.greet(streams, f"{host}:{port}")
            return streams, party
        except BaseException:
            streams.writer.close()
            raise

    async def greet(self, streams: Streams, host: str) -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key}
        upgrade.update({"Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": SUBPROTOCOL})
        streams.say("GET / HTTP/1.1", {"Host": host, **upgrade})
        first, headers = await streams.head()
        is_accepted = headers.get("sec-websocket-accept") == accept_of(key)
        is_named = headers.get("sec-websocket-protocol") == SUBPROTOCOL
        if " 101 " not in first or not is_accepted or not is_named:
            raise Refused(403, headers.get("manyhands-refused", first))

    async def admit(self, streams: Streams) -> Party:
        """The server's side: the same, judged; raises Refused or EOFError."""
        first, headers = await streams.head()
        party = self.identify(streams)
        if not re.fullmatch(r"GET \S+ HTTP/1\.1", first):
            raise Refused(400, "not-a-websocket")
        if "origin" in headers:
            raise Refused(403, "origin")
        if headers.get("upgrade", "").lower() != "websocket":
            raise Refused(426, "not-a-websocket")
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
        if SUBPROTOCOL not in offered:
            raise Refused(400, "subprotocol")
        key = headers.get("sec-websocket-key", "")
        if headers.get("sec-websocket-version") != "13" or not key:
            raise Refused(400, "not-a-websocket")
        answer = {"Connection": "Upgrade", "Upgrade": "websocket"}
        answer.update({"Sec-WebSocket-Accept": accept_of(key)})
        answer["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        streams.say("HTTP/1.1 101 Switching Protocols", answer)
        return party


# -- WebSocket: RFC 6455, without extensions ---------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MAX_FRAGMENTS = 64
CLOSE_MS = 1000


class Broken(Exception):
    """The other end does not keep to RFC 6455, or to the limits."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class WebSocket:
    """Messages over proven streams. `run` ends when the connection has."""

    def __init__(self, streams: Streams, dialled: bool, max_message: int) -> None:
        self.reader, self.writer = streams.reader, streams.writer
        self.dialled, self.max_message = dialled, max_message
        self.unsent: list[bytes] = []
        self.is_closing = False
        self.on_pong: list[Callable[[], None]] = []
        self.go = asyncio.Event()
        self.go.set()

    @property
    def buffered(self) -> int:
        waiting = self.writer.transport.get_write_buffer_size()
        return waiting + sum(len(data) for data in self.unsent)

    def send(self, data: bytes, opcode: int = BINARY) -> None:
        """What is sent in one turn of the loop leaves in one write."""
        if self.is_closing:
            return
        mask = 0x80 if self.dialled else 0
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, mask | size)
        elif size < 65536:
            head = struct.pack(">BBH", 0x80 | opcode, mask | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, mask | 127, size)
        if not self.unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        # Any mask is one; of zeros, the data is its own.
        self.unsent += [head, bytes(4), data] if self.dialled else [head, data]

    def flush(self) -> None:
        if self.unsent and not self.writer.transport.is_closing():
            self.writer.write(b"".join(self.unsent))
        self.unsent.clear()

    def close(self, code: int, reason: str) -> None:
        """Says why, and takes nothing more."""
        if self.is_closing:
            return
        self.send(struct.pack(">H", code) + reason.encode()[:123].decode(errors="ignore").encode(), CLOSE)
        self.flush()
        self.is_closing = True
        after(CLOSE_MS, self.terminate)

    def terminate(self) -> None:
        self.is_closing = True
        self.writer.transport.abort()

    async def run(self, on_message: Callable[[bytes, bool], None]) -> tuple[int, str]:
        """Hands over (message, is it binary) until the end; why it ended."""
        try:
            return await self.read(on_message)
        except Broken as broken:
            self.close(broken.code, broken.reason)
            return broken.code, broken.reason
        except (OSError, EOFError) as error:
            return 1006, str(error) or "the connection was lost"
        finally:
            self.flush()
            self.writer.close()

    async def read(self, on_message: Callable[[bytes, bool], None]) -> tuple[int, str]:
        parts: list[bytes] = []
        opcode = 0
        while True:
            is_last, kind, data = await self.frame(sum(map(len, parts)))
            await self.go.wait()
            if kind == CLOSE:
                code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005
                self.close(code if code != 1005 else 1000, "")
                return code, data[2:].decode(errors="replace")
            if kind == PING:
                self.send(data, PONG)
            elif kind == PONG:
                for tell in self.on_pong:
                    tell()
            else:
                if (kind == 0) != bool(parts):
                    raise Broken(1002, "a fragment out of order")
                opcode = kind or opcode
                parts.append(data)
                if len(parts) > MAX_FRAGMENTS:
                    raise Broken(1008, "too many fragments")
                if is_last and not self.is_closing:
                    on_message(b"".join(parts), opcode == BINARY)
                if is_last:
                    parts = []

    async def frame(self, before: int) -> tuple[bool, int, bytes]:
        first, second = await self.reader.readexactly(2)
        kind, size, is_masked = first & 15, second & 127, bool(second & 128)
        if first & 0x70 or kind not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            raise Broken(1002, "a frame of an extension")
        if kind >= CLOSE and (size > 125 or not first & 0x80):
            raise Broken(1002, "a control frame too long or in parts")
        if is_masked == self.dialled:
            raise Broken(1002, "masked by the wrong side" if is_masked else "not masked")
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        if kind < CLOSE and before + size > self.max_message:
            raise Broken(1009, "the message is too large")
        mask = await self.reader.readexactly(4) if is_masked else bytes(4)
        data = await self.reader.readexactly(size)
        if any(mask):
            key = (mask * (size // 4 + 1))[:size]
            whole = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
            data = whole.to_bytes(size, "big")
        return bool(first & 0x80), kind, data


# -- Conversation: one request, one answer, in both directions ---------------------------

NOT_A_FRAME, NOT_INTRODUCED, WRONG_ANSWER, UNKNOWN_ID, OLD_ID, STRIKES = range(4400, 4406)
TWICE, ONESELF, STALLED, COPIED, FALSE_CLAIM = range(4406, 4411)
INTRODUCTION_MS = 5000
SLOW_RETRY_MS = 50
REMEMBERED = 4096
URGENCY = ("priority", "aborts", "ordinary", "waits")
IDENTITY = ("node_type", "node_id", "boot_id", "host_name")


@dataclass
class Ask:
    kind: str
    body: Body
    until_ms: float
    settle: Settle
    id: int = 0
    timer: Timer = None


class Conversation:
    """The rules between this node and one peer, over one WebSocket."""

    def __init__(self, node: Node, socket: WebSocket, party: Party) -> None:
        self.node, self.table, self.socket, self.party = node, node.table, socket, party
        self.opened_ms = now_ms()
        self.peer: Body | None = None
        self.is_introduced = self.is_over = False
        self.has_answered = self.has_answer = False
        self.why: tuple[int, str] = (0, "")
        self.places: dict[str, int] = dict(self.table.limits["places"])
        self.own_places = dict(self.places)
        self.taken = collections.Counter[str]()  # of the peer's places, by our asks
        self.given = collections.Counter[str]()  # of ours, by its requests
        self.queues: dict[str, collections.deque[Ask]] = {place: collections.deque() for place in URGENCY}
        self.asks: dict[int, Ask] = {}
        self.inbound: dict[int, Timer] = {}
        self.timed_out: collections.OrderedDict[int, None] = collections.OrderedDict()
        self.next_id, self.last_id, self.strikes, self.silent = 1, 0, 0, 0
        self.slow: Timer = None
        self.is_settling = False
        self.limit = after(INTRODUCTION_MS, self.end, NOT_INTRODUCED, "no introduction in time")

    @property
    def name(self) -> str:
        return str((self.peer or {}).get("host_name", self.party.node_id))

    async def run(self) -> None:
        self.ask("NodeTypeRequest", self.node.introduction(), INTRODUCTION_MS, self.answered_who)
        code, reason = await self.socket.run(self.received)
        is_copied = code == COPIED and not self.is_over
        self.closed(code, reason)
        if is_copied:  # told so: a living node has our id
            self.node.stop(reason)

    def end(self, code: int, reason: str) -> None:
        self.socket.close(code, reason)
        self.closed(code, reason)

    def terminate(self, reason: str) -> None:
        self.socket.terminate()
        self.closed(1006, reason)

    def closed(self, code: int, reason: str) -> None:
        if self.is_over:
            return
        self.is_over, self.why = True, (code, reason)
        self.limit.cancel()
        cancel(self.slow)
        for timer in self.inbound.values():
            cancel(timer)
        self.inbound.clear()
        lost = list(self.asks.values())
        self.asks.clear()
        for ask in lost:
            self.settle(ask, "disconnected", {})
        for queue in self.queues.values():
            while queue:
                self.settle(queue.popleft(), "unreachable", {})
        asyncio.get_running_loop().call_soon(self.node.ended, self)

    # What we ask.

    def ask(self, kind: str, body: Body, timeout_ms: float, settle: Settle) -> None:
        ask = Ask(kind, body, now_ms() + timeout_ms, settle)
        if self.is_over:
            asyncio.get_running_loop().call_soon(settle, "unreachable", {})
            return
        ask.timer = after(timeout_ms, self.overdue, ask)
        self.queues[self.place(kind)].append(ask)
        self.pump()

    def place(self, kind: str) -> str:
        return str(self.table.exchanges[kind]["place"])

    def pump(self) -> None:
        is_slow = self.socket.buffered > self.table.limits["slow_bytes"]
        for place in URGENCY:
            queue = self.queues[place]
            while queue and self.taken[place] < self.places[place]:
                is_first = queue[0].kind == "NodeTypeRequest"
                if not (is_first or self.is_introduced) or (is_slow and place != "priority"):
                    break
                self.write(queue.popleft())
        if is_slow and self.slow is None and any(self.queues.values()):
            self.slow = after(SLOW_RETRY_MS, self.pump_again)

    def pump_again(self) -> None:
        self.slow = None
        self.pump()

    def write(self, ask: Ask) -> None:
        ask.id, self.next_id = self.next_id, self.next_id + 1  # ids grow in the order of the wire
        self.taken[self.place(ask.kind)] += 1
        self.asks[ask.id] = ask
        patience = max(1, round(ask.until_ms - now_ms()))
        self.send({"q": ask.id, "k": ask.kind, "b": ask.body, "t": patience})

    def send(self, frame: Body) -> None:
        self.socket.send(pack(frame))
        if self.socket.buffered > self.table.limits["terminate_bytes"]:
            self.terminate("it does not read")

    def overdue(self, ask: Ask) -> None:
        if not ask.id:
            self.queues[self.place(ask.kind)].remove(ask)
            ask.settle("timeout", {})
            return
        self.forget(ask)
        self.timed_out[ask.id] = None
        while len(self.timed_out) > REMEMBERED:
            self.timed_out.popitem(last=False)
        self.silent += 1
        ask.settle("timeout", {})
        if self.silent >= self.table.limits["timeouts_in_a_row"]:
            self.terminate("it does not answer")

    def forget(self, ask: Ask) -> None:
        self.asks.pop(ask.id, None)
        self.taken[self.place(ask.kind)] -= 1
        self.pump()

    @staticmethod
    def settle(ask: Ask, kind: str, body: Body) -> None:
        cancel(ask.timer)
        ask.settle(kind, body)

    # What comes.

    def received(self, data: bytes, is_binary: bool) -> None:
        if self.is_over:
            return
        try:
            frame = read_frame(data if is_binary else b"")
        except NotAFrame as error:
            self.end(NOT_A_FRAME, str(error))
            return
        if "q" in frame:
            self.requested(frame["q"], frame["k"], frame["b"], frame["t"])
        else:
            self.answered(frame["a"], frame["k"], frame["b"])

    def answered(self, id: int, kind: str, body: Any) -> None:
        ask = self.asks.get(id)
        if ask is None:
            if id >= self.next_id:
                self.end(UNKNOWN_ID, "an answer to an id never issued")
            elif id in self.timed_out:
                del self.timed_out[id]  # late, once
            else:
                self.strike()
            return
        self.silent = 0
        self.forget(ask)
        answers = self.table.exchanges[ask.kind]["answers"]
        schema = self.table.error if kind == "Error" else answers.get(kind)
        if schema is None:
            self.settle(ask, "protocol", {})
            self.end(WRONG_ANSWER, f"{kind[:64]} is no answer to {ask.kind}")
        elif self.table.fault(schema, body) is not None:
            self.settle(ask, "protocol", {})
            self.strike()
        else:
            self.settle(ask, kind, body)

    def strike(self) -> None:
        self.strikes += 1
        if self.strikes >= self.table.limits["strikes"]:
            self.end(STRIKES, "three strikes")

    def requested(self, id: int, kind: str, body: Any, patience_ms: int) -> None:
        if id <= self.last_id:
            self.end(OLD_ID, "a request id not greater than the last")
            return
        self.last_id = id
        if not self.is_introduced and kind != "NodeTypeRequest":
            self.send({"a": id, "k": "Error", "b": {"code": "not-ready"}})
            self.end(NOT_INTRODUCED, "not introduced")
            return
        row = self.table.exchanges.get(kind)
        if row is None:
            self.send({"a": id, "k": "Error", "b": {"code": "unknown-kind"}})
            return
        is_full = self.given[row["place"]] >= self.own_places[row["place"]]
        if is_full or (row["data"] and self.socket.buffered > self.table.limits["slow_bytes"]):
            retry = {"retry_after_ms": self.table.limits["busy_retry_after_ms"]}
            self.send({"a": id, "k": "Error", "b": {"code": "busy", **retry}})
            return
        fault = self.table.fault(row["request"], body)
        if fault is not None:
            path = ".".join(map(str, fault))[:255]
            self.send({"a": id, "k": "Error", "b": {"code": "malformed", "path": path}})
            self.strike()
            return
        self.given[row["place"]] += 1
        reserve = min(patience_ms / 10, 500)

        def respond(answer: str, content: Body) -> None:
            if id not in self.inbound:
                return  # the deadline answered, or the connection is gone
            cancel(self.inbound.pop(id))
            self.given[row["place"]] -= 1
            self.send({"a": id, "k": answer, "b": content})

        self.inbound[id] = after(patience_ms - reserve, respond, "Error", {"code": "deadline"})
        try:
            if kind == "NodeTypeRequest":
                self.asked_who(body, respond)
            else:
                self.node.serve(self, kind, body, respond)
        except Exception as error:  # a bug of ours costs one request, not the connection
            log("bug", kind=kind, error=repr(error))
            respond("Error", {"code": "internal"})

    # The first exchange.

    def asked_who(self, body: Body, respond: Respond) -> None:
        if self.accepts(body, respond):
            respond("NodeTypeAnswer", self.node.introduction())
            self.has_answered = True
            self.introduce(body)

    def answered_who(self, kind: str, body: Body) -> None:
        if kind == "NodeTypeAnswer" and self.accepts(body, lambda *_: None):
            self.has_answer = True
            self.introduce(body)
        elif kind == "Error":
            self.end(NOT_INTRODUCED, f"introduction refused: {body['code']}")

    def is_as_shown(self, body: Body) -> bool:
        """Of a client's many connections, each adds a name of its own to the id of its certificate."""
        party, node_id = self.party, str(body["node_id"])
        if (body["node_type"], body["host_name"]) != (party.role, party.host_name):
            return False
        if party.role == "client" and node_id.startswith(f"{party.node_id}/"):
            self.party = Party(party.role, node_id, party.host_name)
            return True
        return node_id == party.node_id

    def accepts(self, body: Body, respond: Respond) -> bool:
        if self.peer is not None and any(self.peer[key] != body[key] for key in IDENTITY):
            respond("Error", {"code": "role-changed"})
            self.end(NOT_INTRODUCED, "another node than before")
            return False
        if not self.is_as_shown(body):
            respond("Error", {"code": "forbidden"})
            self.end(FALSE_CLAIM, "node_id, node_type or host_name is not the certificate's")
            return False
        self.peer = body
        return True

    def introduce(self, body: Body) -> None:
        self.places["ordinary"] = body["max_in_flight"]
        if self.has_answered and self.has_answer and not self.is_introduced:
            self.is_introduced = True
            self.limit.cancel()
            self.node.introduced(self)
            self.pump()


# -- Output and Job: a program in a process group of its own -----------------------------

INLINE_BYTES, DATA_BYTES = 32 * 1024, 64 * 1024
STREAM_BYTES = 1024 * 1024
HALF_CAP_BYTES = 32 * 1024 * 1024
UNREAD_MS = 30_000
TAIL_MS = 1000


class Output:
    """One descriptor of a program. What is held: `head` from `start` on, and `tail` up to
    `size`; between them, `capture` may have dropped the middle."""

    def __init__(self, fd: int, policy: str, on_end: Callable[[], None]) -> None:
        self.fd, self.is_stream, self.on_end = fd, policy == "stream", on_end
        self.start = self.size = self.kept_from = 0
        self.head, self.tail = bytearray(), bytearray()
        self.digest = hashlib.sha256()
        self.is_open, self.has_exited, self.is_paused, self.lost_tail = True, False, False, False
        self.patience: Timer = None
        self.readers: list[tuple[int, int, Callable[[Body], None], asyncio.TimerHandle]] = []
        self.read_ms = now_ms()
        self.is_followed = self.is_told_end = False
        self.watch: Timer = after(UNREAD_MS, self.look_for_reader) if self.is_stream else None
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self.on_readable)

    @property
    def lost(self) -> int:
        return self.size - self.start - len(self.head) - len(self.tail)

    def on_readable(self) -> None:
        try:
            data = os.read(self.fd, DATA_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.finish()
            return
        self.size += len(data)
        room = len(data) if self.is_stream else self.kept_from + HALF_CAP_BYTES - self.head_end
        self.head += data[: max(0, room)]
        self.tail += data[max(0, room) :]
        del self.tail[: max(0, len(self.tail) - HALF_CAP_BYTES)]
        if self.is_stream and len(self.head) >= STREAM_BYTES:
            self.is_paused = True  # so the program waits in its write
            asyncio.get_running_loop().remove_reader(self.fd)
            cancel(self.patience)
        elif self.has_exited:
            self.be_patient()
        self.serve_readers()

    @property
    def head_end(self) -> int:
        return self.start + len(self.head)

    def exited(self) -> None:
        self.has_exited = True
        if self.is_open and not self.is_paused:
            self.be_patient()

    def be_patient(self) -> None:
        """Something that the program left behind may hold its pipe open."""
        cancel(self.patience)
        self.patience = after(TAIL_MS, self.give_up)

    def give_up(self) -> None:
        self.lost_tail = True
        self.finish()

    def finish(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        cancel(self.patience)
        cancel(self.watch)
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)
        self.digest.update(self.head)
        self.digest.update(self.tail)
        self.serve_readers()
        self.on_end()

    def look_for_reader(self) -> None:
        idle = 0.0 if self.readers else now_ms() - self.read_ms
        if idle >= UNREAD_MS:
            self.detach()
        else:
            self.watch = after(UNREAD_MS - idle, self.look_for_reader)

    def detach(self) -> None:
        """Nobody follows (any more): kept under the cap from what is held on."""
        if not self.is_open or not self.is_stream:
            return
        self.is_stream, self.kept_from = False, self.start
        cancel(self.watch)
        self.resume()

    def resume(self) -> None:
        if not self.is_paused or not self.is_open:
            return
        if not self.is_stream or len(self.head) < STREAM_BYTES:
            self.is_paused = False
            asyncio.get_running_loop().add_reader(self.fd, self.on_readable)
            if self.has_exited:
                self.be_patient()

    def read(self, offset: int, most: int, wait_ms: float, settle: Callable[[Body], None]) -> None:
        self.read_ms = now_ms()
        self.is_followed = self.is_followed or self.is_stream
        if self.is_stream and self.is_open and most > 0:
            gone = min(max(0, offset - self.start), len(self.head))
            self.digest.update(self.head[:gone])
            del self.head[:gone]
            self.start += gone
            self.resume()
        answer = self.look(offset, most)
        if answer["data"] or answer["eof"] or not most or not wait_ms:
            settle(answer)
            return
        self.readers.append((offset, most, settle, after(wait_ms, self.serve_readers)))

    def look(self, offset: int, most: int) -> Body:
        at, lost = max(min(offset, self.size), self.start), 0
        data = bytes(self.head[at - self.start : at - self.start + most])
        if at >= self.head_end:
            at = max(at, self.size - len(self.tail))
            skip = at - (self.size - len(self.tail))
            data, lost = bytes(self.tail[skip : skip + most]), self.lost
        eof = not self.is_open and at + len(data) >= self.size
        self.is_told_end = self.is_told_end or eof
        return {"offset": at, "data": data, "eof": eof, "lost": lost}

    def serve_readers(self) -> None:
        """Answers those for whom there is something now, and those whose time is over."""
        over = asyncio.get_running_loop().time() + 0.001
        readers, self.readers = self.readers, []
        for offset, most, settle, timer in readers:
            answer = self.look(offset, most)
            if answer["data"] or answer["eof"] or timer.when() <= over:
                timer.cancel()
                self.read_ms = now_ms()
                settle(answer)
            else:
                self.readers.append((offset, most, settle, timer))


class SpawnFailure(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def find_program(address: str) -> str:
    """Where the program of `exec:…` is."""
    name = address[len("exec:") :]
    if name.startswith("/"):
        return name
    if not name or "/" in name or "\0" in name:
        raise SpawnFailure("EINVAL", "expected exec:NAME or exec:/path")
    found = "ENOENT"
    for folder in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(folder, name)
        if folder.startswith("/") and os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            found = "EACCES"
    raise SpawnFailure(found, f"no program {name[:100]} in the worker's PATH that can be run")


class Guard:
    """A child of this process that lives as long as it does, and then kills what it left."""

    def __init__(self) -> None:
        read_end, self.write_end = os.pipe()
        if os.fork():
            os.close(read_end)
            return
        try:
            os.close(self.write_end)
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.watch(read_end)
        finally:
            os._exit(0)

    @staticmethod
    def watch(read_end: int) -> None:
        groups: set[int] = set()
        beginning = 0
        with open(read_end, encoding="ascii") as lines:
            for line in lines:
                word, group = line[0], int(line[1:])
                if word == "?":
                    beginning = group
                elif word == "+":
                    groups.add(group)
                    beginning = 0
                else:
                    groups.discard(group)
        for group in (groups | {beginning}) - {0}:
            kill_group(group, signal.SIGKILL)

    def say(self, word: str, group: int) -> None:
        """`?` a group begins (0: it does not), `+` it has begun, `-` it is over."""
        os.write(self.write_end, f"{word}{group}\n".encode())

    def say_beginning(self) -> None:
        """In the child, before it is a program: this worker may be killed before it says `+`."""
        self.say("?", os.getpid())


def kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


@dataclass
class End:
    """How a program ended: {"exit_code"}, {"signal"}, or {"error"} if it was never started."""

    how: Body
    run_ms: int


class Job:
    """A program that runs, or has run; its outputs stay readable."""

    def __init__(self, order: Body, host_name: str, guard: Guard, ended: Callable[[End], None]) -> None:
        self.ended, self.guard = ended, guard
        self.end: End | None = None
        self.outputs: list[Output] = []
        self.stdin_fd = -1
        self.typed, self.is_typed_out, self.unwritten = 0, False, bytearray()
        self.writers: list[Callable[[bool], None]] = []
        self.spawn(order, host_name)
        threading.Thread(target=self.wait, args=(asyncio.get_running_loop(),), daemon=True).start()

    def spawn(self, order: Body, host_name: str) -> None:
        program, folder = find_program(order["job_addr"]), order.get("dir", os.getcwd())
        if not os.path.isdir(folder) or not os.access(folder, os.X_OK):
            raise SpawnFailure("ENODIR", f"the directory is not there, or cannot be used: {folder}")
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        ours = {"TASK_ID": order["task_id"], "HOST_NAME": host_name, "ATTEMPT": str(order["attempt"])}
        ours["CORES"] = str(order.get("requires", {}).get("cores", 1))
        variables = {**own, **order.get("env", {}), **{f"MANYHANDS_{k}": v for k, v in ours.items()}}
        policy = order.get("output", "capture")
        opened: list[int] = []

        def pipe() -> tuple[int, int]:
            opened.extend(os.pipe())
            return opened[-2], opened[-1]

        try:
            with tempfile.TemporaryFile() as given:
                given.write(order.get("stdin", b""))
                given.seek(0)
                stdin = pipe() if order.get("stdin_live") else (given.fileno(), -1)
                pipes = [] if policy == "none" else [pipe(), pipe()]
                self.process = subprocess.Popen(
                    [program.encode(), *(argument.encode() for argument in order["arguments"])],
                    stdin=stdin[0],
                    stdout=pipes[0][1] if pipes else subprocess.DEVNULL,
                    stderr=pipes[1][1] if pipes else subprocess.DEVNULL,
                    cwd=folder.encode(),
                    env={name.encode(): value.encode() for name, value in variables.items()},
                    start_new_session=True,
                    preexec_fn=self.guard.say_beginning,
                )
        except (OSError, ValueError) as error:
            self.guard.say("?", 0)
            for fd in opened:
                os.close(fd)
            number = error.errno if isinstance(error, OSError) else errno.EINVAL
            code = errno.errorcode.get(number or 0, "UNKNOWN")
            raise SpawnFailure(code, f"{program}: {error}"[:1024]) from None
        for fd in [*(write_end for _, write_end in pipes), *(stdin[:1] if stdin[1] >= 0 else [])]:
            os.close(fd)
        self.guard.say("+", self.process.pid)
        self.begun_ms, self.stdin_fd = now_ms(), stdin[1]
        if self.stdin_fd >= 0:
            os.set_blocking(self.stdin_fd, False)
        self.outputs = [Output(read_end, policy, self.end_if_over) for read_end, _ in pipes]

    def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread. The process is not reaped: until then nobody else gets its number."""
        status = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        run_ms = round(now_ms() - self.begun_ms)
        is_exit = status is None or status.si_code == os.CLD_EXITED
        number = 0 if status is None else status.si_status
        how = {"exit_code": number} if is_exit else {"signal": signal.Signals(number).name}
        loop.call_soon_threadsafe(self.exited, End(how, run_ms))

    def exited(self, end: End) -> None:
        self.end = end
        self.close_stdin()
        for output in self.outputs:
            output.exited()
        self.end_if_over()

    def end_if_over(self) -> None:
        if self.end is None or any(output.is_open for output in self.outputs):
            return
        kill_group(self.process.pid, signal.SIGKILL)  # what it left behind goes with it
        self.process.wait()
        self.guard.say("-", self.process.pid)
        self.ended(self.end)

    def signal(self, number: int) -> None:
        if self.end is None or any(output.is_open for output in self.outputs):
            kill_group(self.process.pid, number)
        for output in self.outputs:
            output.detach()  # a paused reader must not keep what is being ended from ending

    def type(self, offset: int, data: bytes, eof: bool, settle: Callable[[bool], None]) -> None:
        """Live stdin. Tells, when there is room for more, whether it is still open."""
        if self.is_typed_out or offset > self.typed:
            settle(self.stdin_fd >= 0 or self.is_typed_out)
            return
        if self.stdin_fd < 0:
            settle(False)
            return
        fresh = data[self.typed - offset :]
        self.typed += len(fresh)
        self.unwritten += fresh
        self.is_typed_out = eof
        self.writers.append(settle)
        asyncio.get_running_loop().add_writer(self.stdin_fd, self.on_writable)

    def on_writable(self) -> None:
        try:
            if self.unwritten:
                del self.unwritten[: os.write(self.stdin_fd, self.unwritten)]
        except BlockingIOError:
            return
        except OSError:
            self.close_stdin()
            return
        if self.unwritten:
            return
        asyncio.get_running_loop().remove_writer(self.stdin_fd)
        writers, self.writers = self.writers, []
        for settle in writers:
            settle(True)
        if self.is_typed_out:
            self.close_stdin()

    def close_stdin(self) -> None:
        if self.stdin_fd < 0:
            return
        asyncio.get_running_loop().remove_writer(self.stdin_fd)
        os.close(self.stdin_fd)
        self.stdin_fd = -1
        writers, self.writers = self.writers, []
        for settle in writers:
            settle(False)


# -- Tasks: every task that this worker holds, from its acceptance to its Ack ------------

KINDS = ("exec", "noop")
UNSAFE = re.compile(
    r"(LD_.*|DYLD_.*|GLIBC_TUNABLES|GCONV_PATH|NODE_OPTIONS|BASH_ENV|ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS4"
    r"|PYTHONHOME|PYTHONPATH|PYTHONSTARTUP|PERL5DB|PERL5LIB|PERL5OPT|RUBYLIB|RUBYOPT"
    r"|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS)",
    re.DOTALL,
)
MOST_PENDING, MOST_FINISHED, MOST_CORELESS = 1024, 10_000, 256
TOMBSTONE_MS, MOST_TOMBSTONES = 600_000, 10_000
RETRY_MS, MOST_RETRY_MS, ANSWER_MS = 1000, 30_000, 10_000
KEPT_MS, BRIEFLY_KEPT_MS, MOST_KEPT, MOST_KEPT_BYTES = 3_600_000, 30_000, 1000, 256 * 1024 * 1024
INPUT_WAIT_MS, BUSY_MS = 30_000, 200
KILL_GRACE_MS = 5000


@dataclass(eq=False)
class Task:
    """`state`: pending, running, ending (being killed), finished (not yet acknowledged), gone."""

    order: Body
    state: str = "pending"
    job: Job | None = None
    first_attempt: int = 0
    started_ms: int = 0
    timer: Timer = None
    cause: Body = field(default_factory=dict)
    is_silent: bool = False  # aborted: nobody wants to hear of it
    next: Body | None = None  # a higher attempt, which waits until the group is gone
    outcome: Body = field(default_factory=dict)
    underway: tuple[int, str] = (0, "")  # attempt and rel of the outcome that is on its way
    tries: int = 0
    is_parked: bool = False
    on_gone: list[Callable[[], None]] = field(default_factory=list)
    on_start: list[Callable[[], None]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.order["task_id"])

    @property
    def attempt(self) -> int:
        return int(self.order["attempt"])

    @property
    def cores(self) -> int:
        least = 0 if self.order["job_addr"].startswith("noop:") else 1
        return int(self.order.get("requires", {}).get("cores", least))


@dataclass(eq=False)
class Kept:
    """Outputs of a program that has ended, and the addresses that were given out."""

    outputs: list[Output]
    refs: set[str]
    until_ms: float
    bytes: int


def ledger_of(task_id: str) -> str:
    return task_id[:10]


class Tasks:
    def __init__(self, node: Node, options: argparse.Namespace) -> None:
        self.node, self.host_name = node, options.name
        self.cores, self.memory = options.cores, options.memory
        self.labels: dict[str, str] = dict(pair.split("=", 1) for pair in options.label)
        self.labels.update(node.member.issued)
        self.guard = Guard()
        self.tasks: dict[str, Task] = {}
        self.active: set[Task] = set()  # those that hold a slot
        self.queues: tuple[collections.deque[Task], ...] = (collections.deque(), collections.deque())
        self.tombstones: collections.OrderedDict[str, tuple[int, bool, float]] = collections.OrderedDict()
        self.kept: collections.OrderedDict[tuple[str, int], Kept] = collections.OrderedDict()
        self.lease_until_ms = -math.inf
        self.is_draining = False

    # What is taken.

    def take(self, order: Body) -> str | None:
        """Takes a task, or says why not."""
        task_id, attempt = order["task_id"], order["attempt"]
        if ledger_of(task_id) != self.node.link.served:
            return "invalid"
        stone = self.tombstones.get(task_id)
        if stone is not None and stone[2] > now_ms() and stone[0] >= attempt:
            return "stale-attempt" if stone[1] or stone[0] > attempt else None
        task = self.tasks.get(task_id)
        if task is None:
            reason = self.unfit(order) or self.unready()
            if reason is None:
                self.enqueue(Task(order))
            return reason
        known = task.next or task.order
        if known["attempt"] > attempt:
            return "stale-attempt"
        if {**known, "attempt": attempt} != order:
            return "conflict"
        return self.again(task) if known["attempt"] == attempt else self.adopt(task, order)

    def unfit(self, order: Body) -> str | None:
        folder, env = order.get("dir", "/"), order.get("env", {})
        texts = [folder, *order["arguments"], *env.values()]
        if "stdin" in order and order.get("stdin_live") or not folder.startswith("/"):
            return "invalid"
        if any("\0" in text for text in texts):
            return "invalid"
        if order["job_addr"].split(":")[0] not in KINDS:
            return "unsupported-kind"
        needs = order.get("requires", {})
        is_fit = needs.get("cores", 1) <= self.cores and needs.get("memory", 0) <= self.memory
        is_here = needs.get("host_name", self.host_name) == self.host_name and all(
            any(fnmatch.fnmatchcase(self.host_name, glob) for glob in globs) for globs in needs.get("within", [])
        )
        has_labels = all(self.labels.get(k) == v for k, v in needs.get("labels", {}).items())
        if not (is_fit and is_here and has_labels) or any(needs.get("resources", {}).values()):
            return "specs"
        is_vouched = order.get("unsafe_env") is True
        return "forbidden" if not is_vouched and any(UNSAFE.fullmatch(name) for name in env) else None

    def unready(self) -> str | None:
        if self.is_draining:
            return "draining"
        waiting = sum(map(len, self.queues))
        is_full = waiting >= MOST_PENDING + self.free_cores
        finished = len(self.tasks) - len(self.active) - waiting
        return "busy" if is_full or finished >= MOST_FINISHED else None

    def again(self, task: Task) -> str | None:
        """The same attempt once more: never a second start."""
        if task.state == "ending" and task.is_silent and task.next is None:
            return "stale-attempt"
        if task.state == "running":
            self.report_start(task)
        if task.state == "finished":
            self.deliver(task)
        return None

    def adopt(self, task: Task, order: Body) -> str | None:
        """A higher attempt of what is here."""
        if task.state == "ending":
            reason = None if task.next is not None and not self.is_draining else self.unready()
            if reason is None:
                task.is_silent, task.next = True, order
            return reason
        if task.state == "finished" and task.outcome["kind"] == "Error":
            reason = self.unready()
            if reason is None:
                self.forget(task)
                self.enqueue(Task(order))
            return reason
        task.order = order
        return self.again(task)

    def enqueue(self, task: Task) -> None:
        self.tasks[task.id] = task
        task.state = "pending"
        self.queues[min(task.cores, 1)].append(task)

    @property
    def free_cores(self) -> int:
        return max(0, int(self.cores) - sum(task.cores for task in self.active))

    def fits(self, task: Task) -> bool:
        memory = sum(one.order.get("requires", {}).get("memory", 0) for one in self.active)
        needs = task.order.get("requires", {}).get("memory", 0)
        is_room = task.cores <= self.free_cores and memory + needs <= self.memory
        return is_room and len(self.active) < self.cores + MOST_CORELESS

    def pump(self) -> None:
        """Starts what waits, in order, while there is room and the lease lasts."""
        for queue in self.queues:
            while queue and not self.is_draining and now_ms() < self.lease_until_ms:
                if queue[0].state == "pending":
                    if not self.fits(queue[0]):
                        break
                    self.start(queue[0])
                queue.popleft()

    # What runs.

    def start(self, task: Task) -> None:
        task.state, task.first_attempt = "running", task.attempt
        task.is_silent, task.started_ms = False, round(time.time() * 1000)
        self.active.add(task)
        try:
            if task.order["job_addr"].startswith("noop:"):
                self.report_start(task)
                asyncio.get_running_loop().call_soon(self.ended, task, End({"exit_code": 0}, 0))
                return
            task.job = Job(task.order, self.host_name, self.guard, lambda end: self.ended(task, end))
        except SpawnFailure as failure:
            error = {"kind": "SpawnError", "code": failure.code, "reason": failure.reason[:1024]}
            asyncio.get_running_loop().call_soon(self.ended, task, End({"error": error}, 0))
            return
        self.report_start(task)
        if task.order["timeout_ms"] > 0:
            task.timer = after(task.order["timeout_ms"], self.stop, task, {"kind": "TimedOut"}, False)
        tell(task.on_start)

    def stop(self, task: Task, cause: Body, is_silent: bool) -> None:
        """TERM now, KILL after the task's grace."""
        task.state, task.cause, task.is_silent = "ending", cause, is_silent
        cancel(task.timer)
        if task.job is not None:
            task.job.signal(signal.SIGTERM)
            grace = task.order.get("kill_grace_ms", KILL_GRACE_MS)
            task.timer = after(grace, task.job.signal, signal.SIGKILL)

    def ended(self, task: Task, end: End) -> None:
        cancel(task.timer)
        result, refs = self.result_of(task, end)
        if task.state == "ending" and task.is_silent:
            self.active.discard(task)
            waiting, order = task.on_gone, task.next
            if order is not None:
                task.on_gone, task.next, task.order, task.job = [], None, order, None
                self.enqueue(task)
            else:
                self.bury(task, is_fence=True)
            tell(waiting)
            self.pump()
            return
        if task.state == "running" and end.how.get("exit_code") == 0:
            outcome = {"kind": "Completed", "result": result}
        else:
            error = end.how.get("error") or {"kind": "RunningError", **end.how}
            error = task.cause if task.state == "ending" else error
            outcome = {"kind": "Error", "error": error, "result": result}
        self.keep(task, refs)
        self.finish(task, outcome)

    def finish(self, task: Task, outcome: Body) -> None:
        """The slot is free, the outcome waits for its Ack."""
        self.active.discard(task)
        task.state, task.outcome, task.job = "finished", outcome, None
        tell(task.on_start)
        tell(task.on_gone)
        self.deliver(task)
        self.pump()

    def result_of(self, task: Task, end: End) -> tuple[Body, set[str]]:
        result: Body = {"run_ms": end.run_ms}
        result.update({"exit_code": end.how["exit_code"]} if "exit_code" in end.how else {})
        outputs = task.job.outputs if task.job is not None else []
        if any(output.lost_tail for output in outputs):
            result["lost_tail"] = True
        is_whole = all(output.lost == 0 and output.start == 0 for output in outputs)
        is_inline = is_whole and sum(output.size for output in outputs) <= INLINE_BYTES
        refs: set[str] = set()
        for fd, output in enumerate(outputs, 1):
            if output.size == 0:
                continue
            captured: Body = {"size": output.size, "sha256": output.digest.hexdigest()}
            if output.lost:
                captured["lost"] = output.lost
            if is_inline:
                captured["inline"] = bytes(output.head)
            else:
                captured["ref"] = f"out:{task.id}:{task.attempt}:{fd}"
                refs.add(captured["ref"])
            result["stdout" if fd == 1 else "stderr"] = captured
        return result, refs

    # What is told, and when it is over.

    def report_start(self, task: Task) -> None:
        rel = self.node.link.rel_for(ledger_of(task.id))
        if rel is None:
            return  # the inventory will tell
        attempt = task.attempt
        body = {"rel": rel, "task_id": task.id, "attempt": attempt, "at_ms": task.started_ms}
        if task.job is not None:
            body["pid"] = task.job.process.pid

        def settle(kind: str, answer: Body) -> None:
            if kind == "NotMine":
                self.node.link.not_mine(rel)
            elif kind != "Ack" and answer.get("code") != "malformed":
                after(RETRY_MS, again)

        def again() -> None:
            if task.state == "running" and task.attempt == attempt:
                self.report_start(task)

        self.node.link.ask("TaskStarted", body, ANSWER_MS, settle)

    def deliver(self, task: Task) -> None:
        rel = self.node.link.rel_for(ledger_of(task.id))
        if rel is None or task.is_parked or task.underway == (task.attempt, rel):
            return  # it goes at the next acceptance, or never, or already
        attempt, sent = task.attempt, (task.attempt, rel)
        task.underway = sent
        content = {key: value for key, value in task.outcome.items() if key != "kind"}
        body = {"rel": rel, "task_id": task.id, "attempt": attempt, **content}

        def settle(kind: str, answer: Body) -> None:
            if task.state != "finished" or task.underway != sent:
                return
            task.underway = (0, "")
            if kind == "Ack":
                self.bury(task, is_fence=False)
                return
            if answer.get("code") == "malformed":
                task.is_parked = True
                log("outcome-malformed", task=task.id, path=answer.get("path"))
                return
            after(min(RETRY_MS * 2**task.tries, MOST_RETRY_MS), again)
            task.tries = min(task.tries + 1, 8)
            if kind == "NotMine":
                self.node.link.not_mine(rel)

        def again() -> None:
            if task.state == "finished":
                self.deliver(task)

        self.node.link.ask(f"Task{task.outcome['kind']}", body, ANSWER_MS, settle)

    def of_ledger(self, ledger: str | None) -> list[Task]:
        return [task for task in self.tasks.values() if ledger in (None, ledger_of(task.id))]

    def flush(self, ledger: str) -> None:
        for task in self.of_ledger(ledger):
            if task.state == "finished":
                self.deliver(task)

    def forget(self, task: Task) -> None:
        """It is not here any more; whoever waits for it is told."""
        cancel(task.timer)
        if self.tasks.get(task.id) is task:
            del self.tasks[task.id]
        self.active.discard(task)
        task.state = "gone"
        tell(task.on_start)

    def bury(self, task: Task, is_fence: bool) -> None:
        if is_fence:
            for key in [key for key in self.kept if key[0] == task.id]:
                self.drop(key)
        self.forget(task)
        self.put_stone(task.id, task.attempt, is_fence)

    def put_stone(self, task_id: str, attempt: int, is_fence: bool) -> None:
        if self.tombstones.get(task_id, (0, False, 0))[0] > attempt:
            return
        self.tombstones.pop(task_id, None)
        self.tombstones[task_id] = (attempt, is_fence, now_ms() + TOMBSTONE_MS)
        while len(self.tombstones) > MOST_TOMBSTONES:
            self.tombstones.popitem(last=False)

    def abort(self, task_id: str, attempt: int | None, gone: Callable[[], None] | None) -> bool:
        """Ends a task up to that attempt (None: any); true if `gone` will be called."""
        task, most = self.tasks.get(task_id), math.inf if attempt is None else attempt
        if task is None:
            if attempt is not None:
                self.put_stone(task_id, attempt, True)  # it may still be on its way
            return False
        if task.next is not None and task.next["attempt"] <= most:
            self.put_stone(task_id, task.next["attempt"], True)
            task.next = None
        if task.attempt > most:
            return False
        if task.state in ("pending", "finished"):
            self.bury(task, is_fence=True)
            self.pump()
            return False
        if task.state == "running":
            self.stop(task, {"kind": "Aborted", "reason": "asked by the manager"}, True)
        task.is_silent = True
        if gone is not None:
            task.on_gone.append(gone)
        return True

    def drop_all(self, entries: list[Body]) -> None:
        """What a ManagerAnswer names: recorded already, or wanted no more. Never taken again;
        of what has ended the output stays."""
        for entry in entries:
            task = self.tasks.get(entry["task_id"])
            if task is not None and task.state == "finished" and task.attempt <= entry["attempt"]:
                self.forget(task)
                self.put_stone(task.id, task.attempt, True)
            else:
                self.abort(entry["task_id"], entry["attempt"], None)

    def orphan(self, ledger: str) -> None:
        """The lease is over: nothing starts, and what asked for it is killed."""
        self.lease_until_ms = -math.inf
        for task in self.of_ledger(ledger):
            if task.state == "running" and task.order.get("on_orphan") == "kill":
                self.stop(task, {"kind": "Aborted", "reason": "the manager was lost"}, False)
                if task.job is not None:
                    task.job.signal(signal.SIGKILL)

    def disown(self, ledger: str) -> None:
        """The manager does not want this work: ended, and not spoken of."""
        self.release(ledger)
        for task in self.of_ledger(ledger):
            self.abort(task.id, None, None)

    def release(self, ledger: str | None) -> None:
        """What was not started is forgotten, without a tombstone: it may come again."""
        self.lease_until_ms = -math.inf
        for task in self.of_ledger(ledger):
            task.next = None
            if task.state == "pending":
                self.forget(task)

    def end_all(self) -> None:
        self.release(None)
        for task in list(self.active):
            if task.state == "running":
                self.stop(task, {"kind": "Aborted", "reason": "the worker is leaving"}, False)

    def inventory(self, ledger: str) -> list[Body]:
        lines = []
        for task in self.of_ledger(ledger):
            line: Body = {"task_id": task.id, "attempt": task.attempt}
            if task.state == "pending" or task.next is not None:
                lines.append({**line, "attempt": (task.next or task.order)["attempt"], "status": "Pending"})
            elif task.state == "running":
                lines.append({**line, "status": "Started", "at_ms": task.started_ms})
            elif task.state == "finished":
                lines.append({**line, "status": task.outcome["kind"]})
            elif not task.is_silent:
                lines.append({**line, "status": "Ending"})
        return lines

    def status(self, task_id: str) -> Body:
        task = self.tasks.get(task_id)
        if task is None or (task.state == "ending" and task.is_silent and task.next is None):
            return {"kind": "Unknown"}
        if task.state == "pending" or task.next is not None:
            return {"kind": "Pending"}
        if task.state != "finished":
            return {"kind": "Started", "at_ms": task.started_ms}
        status = dict(task.outcome)
        if "result" in status:
            status["result"] = {
                name: {k: v for k, v in value.items() if k != "inline"} if isinstance(value, dict) else value
                for name, value in status["result"].items()
            }
        return status

    # What is read and written.

    def keep(self, task: Task, refs: set[str]) -> None:
        outputs = task.job.outputs if task.job is not None else []
        size = sum(len(output.head) + len(output.tail) for output in outputs)
        if size == 0:
            return
        until_ms = now_ms() + (KEPT_MS if refs else BRIEFLY_KEPT_MS)
        self.kept[task.id, task.attempt] = Kept(outputs, refs, until_ms, size)
        self.sweep()

    def is_being_read(self) -> bool:
        """Does somebody who follows a program still miss its last words?"""
        outputs = [output for kept in self.kept.values() for output in kept.outputs]
        return any(output.is_followed and not output.is_told_end for output in outputs)

    def sweep(self) -> None:
        for key in [key for key, kept in self.kept.items() if kept.until_ms <= now_ms()]:
            self.drop(key)
        while len(self.kept) > MOST_KEPT or sum(k.bytes for k in self.kept.values()) > MOST_KEPT_BYTES:
            self.drop(next(iter(self.kept)))

    def drop(self, key: tuple[str, int]) -> None:
        del self.kept[key]

    def read(self, body: Body, respond: Respond) -> None:
        """TaskOutputRead, from our manager."""
        task, attempt = self.tasks.get(body["task_id"]), body["attempt"]
        offset, most, wait_ms = body["offset"], min(body["max"], DATA_BYTES), body["wait_ms"]
        nothing = {"offset": offset, "data": b"", "eof": False, "lost": 0}
        is_running = task is not None and task.state in ("running", "ending")
        if task is not None and is_running and attempt >= task.first_attempt:
            self.read_job(task.job, body["fd"], offset, most, wait_ms, respond)
            return
        kept = self.kept.get((body["task_id"], attempt))
        if kept is not None:
            output = kept.outputs[body["fd"] - 1]
            output.read(offset, most, wait_ms, lambda data: respond("TaskOutputData", data))
        elif task is None or attempt < task.attempt:
            respond("NotFound", {})
        elif task.state == "finished" or not wait_ms:
            respond("TaskOutputData", {**nothing, "eof": task.state == "finished"})
        else:
            until_ms = now_ms() + wait_ms

            def again() -> None:
                self.read({**body, "wait_ms": max(0, until_ms - now_ms())}, respond)

            self.when_started(task, wait_ms, again, lambda: respond("TaskOutputData", nothing))

    @staticmethod
    def read_job(job: Job | None, fd: int, offset: int, most: int, wait_ms: float, respond: Respond) -> None:
        if job is None or not job.outputs:
            respond("TaskOutputData", {"offset": offset, "data": b"", "eof": True, "lost": 0})
            return
        job.outputs[fd - 1].read(offset, most, wait_ms, lambda data: respond("TaskOutputData", data))

    @staticmethod
    def when_started(task: Task, wait_ms: float, then: Callable[[], None], tired: Callable[[], None]) -> None:
        def start() -> None:
            timer.cancel()
            then()

        def tire() -> None:
            task.on_start.remove(start)
            tired()

        timer = after(wait_ms, tire)
        task.on_start.append(start)

    def type(self, body: Body, respond: Respond) -> None:
        """TaskInput, from our manager."""
        task = self.tasks.get(body["task_id"])
        is_live = task is not None and task.state != "finished" and task.order.get("stdin_live")
        if task is None or not is_live or body.get("attempt", 0) > task.attempt:
            respond("NotFound", {})
        elif task.job is not None:
            task.job.type(
                body["offset"],
                body["data"],
                body["eof"],
                lambda is_open: respond("Ack" if is_open else "NotFound", {}),
            )
        else:
            busy = {"code": "busy", "retry_after_ms": 1000}
            again = functools.partial(self.type, body, respond)
            self.when_started(task, INPUT_WAIT_MS, again, lambda: respond("Error", busy))

    def blob(self, ref: str, ledger: str) -> tuple[tuple[str, int], int] | None:
        match = re.fullmatch(r"out:([0-9a-z]{10}-[0-9]{1,16}):([0-9]{1,16}):([12])", ref)
        if match is None or ledger_of(match[1]) != ledger:
            return None
        return (match[1], int(match[2])), int(match[3])

    def read_blob(self, body: Body, ledger: str, respond: Respond) -> None:
        at = self.blob(body["ref"], ledger)
        kept = self.kept.get(at[0]) if at is not None else None
        if at is None or kept is None:
            respond("NotFound", {})
            return
        respond("BlobData", kept.outputs[at[1] - 1].look(body["offset"], min(body["max"], DATA_BYTES)))

    def release_blobs(self, refs: list[str], ledger: str) -> None:
        for ref in refs:
            at = self.blob(ref, ledger)
            kept = self.kept.get(at[0]) if at is not None else None
            if at is None or kept is None:
                continue
            kept.refs.discard(ref)
            if not kept.refs:
                self.drop(at[0])


def tell(waiting: list[Callable[[], None]]) -> None:
    """Calls each once; who waits again meanwhile waits for the next time."""
    functions = waiting[:]
    waiting.clear()
    for function in functions:
        function()


# -- Relationship: with the one manager that this worker has -----------------------------

BACKOFF_MS, MOST_BACKOFF_MS, MOST_RETRY_AFTER_MS = 500, 10_000, 60_000
PAGE, SILENT_PINGS, RELEASE_LEASES = 1000, 3, 10
SETTLE_BYTES, SETTLE_AGAIN_MS, BYE_MS = 64 * 1024, 30_000, 2000


@dataclass
class Bond:
    """What an acceptance leaves behind until the next one."""

    manager: Conversation
    ledger: str
    rel: str | None
    ping_ms: float
    lease_ms: float
    until_ms: float
    is_over: bool = False


class Relationship:
    """`phase`: detached, requesting, managed, suspect (has work of `owner`, and no manager), left."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.phase = "detached"
        self.to: Conversation | None = None  # who is asked, or manages us
        self.bond: Bond | None = None
        self.owner: str | None = None
        self.candidates: list[Conversation] = []
        self.serial, self.tries, self.silent, self.since_ms = 0, 0, 0, 0.0
        self.epochs: dict[str, int] = {}
        self.ledgers: dict[str, str] = {}  # of each manager that we have served
        self.timers: dict[str, asyncio.TimerHandle] = {}

    def time(self, name: str, ms: float, run: Callable[[], None]) -> None:
        self.untime(name)
        self.timers[name] = after(ms, run)

    def untime(self, *names: str) -> None:
        for name in names:
            cancel(self.timers.pop(name, None))

    def go(self, phase: str) -> None:
        if phase != self.phase:
            log("relationship", phase=phase)
        self.phase = phase

    @property
    def served(self) -> str | None:
        if self.phase in ("requesting", "managed") and self.to is not None:
            return ledger_of_peer(self.to)
        return self.owner if self.phase == "suspect" else None

    def rel_for(self, ledger: str) -> str | None:
        is_mine = self.phase == "managed" and self.served == ledger and self.bond is not None
        return self.bond.rel if is_mine and self.bond is not None else None

    def ask(self, kind: str, body: Body, timeout_ms: float, settle: Settle) -> None:
        if self.to is not None:
            self.to.ask(kind, body, timeout_ms, settle)

    def is_from_manager(self, peer: Conversation, rel: Any) -> bool:
        is_managed = self.phase == "managed" and self.to is peer and self.bond is not None
        return is_managed and self.bond is not None and self.bond.rel == rel

    def has_work(self, ledger: str | None) -> bool:
        return ledger is not None and bool(self.node.tasks.of_ledger(ledger))

    # Connections.

    def connected(self, peer: Conversation) -> None:
        ledger, node_id = ledger_of_peer(peer), peer.party.node_id
        if self.phase == "left" or not ledger:
            return
        if self.phase == "managed" and self.to is not None and self.to.party.node_id == node_id:
            self.suspect()  # its old socket was half open, and was replaced
        known = self.ledgers.get(node_id)
        if known is not None and known != ledger:
            del self.ledgers[node_id]
            self.node.tasks.disown(known)
            if self.owner == known:
                self.untime("lease", "release")
                self.owner = self.bond = None
                if self.phase == "suspect":
                    self.go("detached")
            elif self.phase == "managed" and self.bond is not None:
                self.node.tasks.lease_until_ms = self.bond.until_ms
        self.candidates = [peer, *(one for one in self.candidates if one.party.node_id != node_id)]
        self.seek()
        self.settle_with(peer)

    def lost(self, peer: Conversation) -> None:
        self.candidates = [one for one in self.candidates if one is not peer]
        if self.phase == "managed" and self.to is peer:
            self.suspect()
            self.seek()
        elif self.phase == "requesting" and self.to is peer:
            self.failed(0)

    def suspect(self) -> None:
        self.untime("ping")
        self.owner = self.served
        self.go("suspect")

    def seek(self) -> None:
        """Asks the next manager, if one is there and we are free to."""
        if self.phase not in ("detached", "suspect"):
            return
        for peer in self.candidates:
            if self.phase == "detached" or ledger_of_peer(peer) == self.owner:
                self.request(peer)
                return

    def request(self, peer: Conversation) -> None:
        """One snapshot of the inventory, sent page by page."""
        self.untime("retry")
        self.owner = self.owner if self.phase == "suspect" else None
        self.to, self.serial = peer, self.serial + 1
        self.go("requesting")
        serial, ledger = self.serial, ledger_of_peer(peer)
        lines = self.node.tasks.inventory(ledger)
        base = self.node.specs()
        if self.bond is not None and self.bond.rel and is_same_boot(self.bond.manager, peer):
            base["rel"] = self.bond.rel

        def send(start: int) -> None:
            if self.phase != "requesting" or self.serial != serial:
                return
            more, sent_ms = start + PAGE < len(lines), now_ms()

            def settle(kind: str, answer: Body) -> None:
                if more and kind == "ManagerAnswer" and answer.get("continue"):
                    send(start + PAGE)
                elif kind == "ManagerAnswer" and is_grant(answer):
                    self.accepted(peer, serial, sent_ms, answer)
                elif self.phase == "requesting" and self.serial == serial:
                    self.failed(answer.get("retry_after_ms", 0))

            page = {**base, "tasks": lines[start : start + PAGE], "more": more}
            peer.ask("ManagerRequest", page, ANSWER_MS, settle)

        send(0)

    def failed(self, retry_after_ms: float) -> None:
        """A request came to nothing: the next manager's turn, after a back-off."""
        backoff = min(BACKOFF_MS * 2**self.tries, MOST_BACKOFF_MS) * (0.5 + random.random() / 2)
        self.tries = min(self.tries + 1, 16)
        self.candidates.sort(key=lambda one: one is self.to)
        if self.has_work(self.owner):
            self.go("suspect")
        else:
            self.detach()
        self.time("retry", max(backoff, min(retry_after_ms, MOST_RETRY_AFTER_MS)), self.seek)

    def detach(self) -> None:
        self.untime("lease", "release")
        self.owner = self.bond = self.to = None
        self.go("detached")

    def accepted(self, peer: Conversation, serial: int, sent_ms: float, grant: Body) -> None:
        ledger, rel = ledger_of_peer(peer), grant["rel"]
        if self.phase != "requesting" or self.serial != serial:
            if self.to is not peer or self.phase != "managed":
                peer.ask("ManagerBye", {"rel": rel, "reason": "too late"}, BYE_MS, ignore)
            return
        if grant["epoch"] < self.epochs.get(ledger, 0):
            peer.ask("ManagerBye", {"rel": rel, "reason": "a later epoch was seen"}, BYE_MS, ignore)
            self.failed(0)
            return
        ping_ms, lease_ms = grant["ping_ms"], grant["lease_ms"]
        self.bond = Bond(peer, ledger, rel, ping_ms, lease_ms, sent_ms + lease_ms)
        self.epochs[ledger] = grant["epoch"]
        self.ledgers[peer.party.node_id] = ledger
        self.tries = self.silent = 0
        self.since_ms, self.owner = now_ms(), None
        self.go("managed")
        self.untime("retry", "release")
        self.node.tasks.drop_all(grant.get("drop", []))
        self.time("lease", self.bond.until_ms - now_ms(), self.lease_due)
        self.time("ping", ping_ms, self.ping_due)
        self.node.tasks.lease_until_ms = self.bond.until_ms
        self.node.tasks.pump()
        self.node.tasks.flush(ledger)
        for one in self.candidates:
            self.settle_with(one)

    # Managed.

    def ping_due(self) -> None:
        bond, sent_ms = self.bond, now_ms()
        if self.phase != "managed" or bond is None or bond.rel is None:
            return
        rel = bond.rel

        def settle(kind: str, _: Body) -> None:
            if self.phase != "managed" or self.bond is None or self.bond.rel != rel:
                return
            if kind == "ManagerPong":
                self.silent = 0
                bond.until_ms = max(bond.until_ms, sent_ms + bond.lease_ms)
                self.node.tasks.lease_until_ms = bond.until_ms
                self.time("lease", bond.until_ms - now_ms(), self.lease_due)
            elif kind == "NotMine":
                self.not_mine(rel)
            elif kind == "timeout":
                self.silent += 1
                if self.silent >= SILENT_PINGS and self.to is not None:
                    self.to.terminate("three pings without an answer")

        self.ask("ManagerPing", {"rel": rel}, bond.ping_ms, settle)
        self.time("ping", bond.ping_ms, self.ping_due)

    def not_mine(self, rel: str) -> None:
        if self.phase != "managed" or self.bond is None or self.bond.rel != rel:
            return
        self.bond.rel = None
        self.suspect()
        # Accepted and disowned in the same breath: asking at once would go round for ever.
        wait_ms = self.since_ms + BACKOFF_MS - now_ms()
        if wait_ms <= 0 and self.to is not None and not self.to.is_over:
            self.request(self.to)
        else:
            self.time("retry", wait_ms, self.seek)

    def bye(self, peer: Conversation, rel: str) -> None:
        bond = self.bond
        if bond is None or bond.rel != rel or bond.manager.party.node_id != peer.party.node_id:
            return  # a stranger's changes nothing
        self.untime("ping", "lease", "release")
        self.bond = self.owner = None
        self.node.tasks.disown(bond.ledger)
        if self.phase != "requesting":
            self.failed(0)

    def lease_due(self) -> None:
        bond = self.bond
        if bond is None or bond.is_over or self.phase in ("detached", "left"):
            return
        if now_ms() < bond.until_ms:
            self.time("lease", bond.until_ms - now_ms(), self.lease_due)
            return
        bond.is_over = True
        log("lease-over", manager=bond.manager.name)
        self.node.tasks.orphan(bond.ledger)
        left_ms = bond.until_ms + (RELEASE_LEASES - 1) * bond.lease_ms - now_ms()
        self.time("release", left_ms, self.release_due)
        current = self.to
        if self.phase == "requesting" and current is not bond.manager:
            return  # bounded by its own deadline
        self.untime("ping")
        self.candidates = [one for one in self.candidates if one is not current]
        self.owner = bond.ledger
        if self.has_work(bond.ledger):
            self.go("suspect")
        else:
            self.detach()
        if current is not None:
            current.terminate("the lease is over")
        self.seek()

    def release_due(self) -> None:
        """Ten leases without its manager: another one may be served."""
        if self.phase == "requesting":
            self.time("release", MOST_BACKOFF_MS, self.release_due)
        elif self.phase == "suspect":
            self.node.tasks.release(self.owner)
            self.tries = 0
            self.detach()
            self.seek()

    def settle_with(self, peer: Conversation) -> None:
        """Hands outcomes of a ledger that we do not serve to its manager, a page at a time."""
        ledger, size = ledger_of_peer(peer), 0
        pages: list[Body] = []
        if self.phase in ("detached", "left") or self.served == ledger or peer.is_settling:
            return
        for task in self.node.tasks.of_ledger(ledger):
            if task.state == "finished" and not task.is_parked and len(pages) < PAGE:
                size += 512 + len(pack(task.outcome))
                if pages and size > SETTLE_BYTES:
                    break
                pages.append({"task_id": task.id, "attempt": task.attempt})
                pages[-1].update({"status": task.outcome["kind"], "outcome": task.outcome})
        if not pages:
            return
        peer.is_settling = True

        def settle(kind: str, answer: Body) -> None:
            drops = answer.get("drop", []) if kind == "ManagerAnswer" else []
            if answer.get("accepted") and "rel" in answer:
                peer.ask("ManagerBye", {"rel": answer["rel"], "reason": "settled only"}, BYE_MS, ignore)
            self.node.tasks.drop_all(drops)
            after(0 if drops else SETTLE_AGAIN_MS, again)

        def again() -> None:
            peer.is_settling = False
            if not peer.is_over:
                self.settle_with(peer)

        body = {**self.node.specs(), "tasks": pages, "more": False, "settle": True}
        peer.ask("ManagerRequest", body, ANSWER_MS, settle)

    async def leave(self) -> None:
        phase, bond, peer = self.phase, self.bond, self.to
        self.untime("retry", "ping", "lease", "release")
        self.go("left")
        if phase == "managed" and bond is not None and bond.rel and peer is not None:
            said = asyncio.Event()
            body = {"rel": bond.rel, "reason": "the worker is leaving"}
            peer.ask("ManagerBye", body, BYE_MS, lambda *_: said.set())
            await said.wait()


def ignore(_: str, __: Body) -> None:
    pass


def ledger_of_peer(peer: Conversation) -> str:
    return str((peer.peer or {}).get("ledger_id", ""))


def is_same_boot(one: Conversation, other: Conversation) -> bool:
    names = ("node_id", "boot_id")
    return all((one.peer or {}).get(name) == (other.peer or {}).get(name) for name in names)


def is_grant(answer: Body) -> bool:
    has_all = all(name in answer for name in ("rel", "epoch", "ping_ms", "lease_ms"))
    return answer["accepted"] and has_all and answer["ping_ms"] >= 1


# -- Node: the state directory, the connections, and all of it joined --------------------

CROSSING_MS, PROBE_MS = 2000, 1000
LEAVE_S, FLUSH_S = 5.0, 5.0


class Slot:
    """This node's folder in the state directory, claimed so that no other node takes it."""

    def __init__(self, state: str, name: str) -> None:
        self.folder = os.path.join(state, "nodes", f"worker@{name.lower()}")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        inode = os.stat(self.folder).st_ino
        token = secrets.token_hex(4)
        self.owner = f"{os.getpid()}.{start_of(os.getpid())}.{boot_of()}.{inode}.{token}"
        self.write(f"lock.{self.owner}", "")
        nodes = os.path.join(state, "nodes")
        for folder in os.listdir(nodes):
            if folder.endswith(f"@{name.lower()}") and self.is_held(os.path.join(nodes, folder)):
                self.release()
                raise SystemExit(f"the name {name} is in use by a living {folder.split('@')[0]}")
        self.write(f"held.{self.owner}", "")

    def is_held(self, folder: str) -> bool:
        for claim in os.listdir(folder):
            if not claim.startswith("lock.") or claim == f"lock.{self.owner}":
                continue
            pid, start, boot, inode = (claim[5:].split(".") + [""] * 4)[:4]
            is_here = boot == boot_of() and inode == str(os.stat(folder).st_ino)
            if pid.isdigit() and is_here and start_of(int(pid)) == start:
                return True
        return False

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, f".{secrets.token_hex(6)}.tmp")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        os.rename(path, os.path.join(self.folder, name))

    def release(self) -> None:
        for name in ("address.json", f"held.{self.owner}", f"lock.{self.owner}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, name))


def start_of(pid: int) -> str | None:
    """When a living process was started, in clock ticks since the machine's boot."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def boot_of() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "0"


def read_json(path: str) -> Body:
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_member(state: str, name: str) -> Member:
    authority = os.path.join(state, "mesh", "ca.pem")
    identity = os.path.join(state, "nodes", f"worker@{name.lower()}", "identity")
    if not os.path.exists(identity):
        raise SystemExit(f"no certificate for {name} in {state}; run: manyhands issue --role worker --name {name}")
    places = [(place, "700") for place in (state, os.path.dirname(authority), identity)]
    places += [(authority, "600"), *((os.path.join(identity, name), "600") for name in os.listdir(identity))]
    for place, kind in places:
        stat = os.lstat(place)
        if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
            raise SystemExit(f"{place} is open to others; run: chmod {kind} '{place}'")
    return Member(authority, identity)


class Node:
    def __init__(self, options: argparse.Namespace, table: Table, member: Member) -> None:
        self.options, self.table, self.member = options, table, member
        self.boot_id = secrets.token_hex(8)
        self.port = 0
        self.current: dict[str, Conversation] = {}
        self.known: dict[tuple[str, int], str] = {}  # who answered at an address
        self.lost, self.stopped = asyncio.Event(), asyncio.Event()
        self.tasks = Tasks(self, options)
        self.link = Relationship(self)

    def introduction(self) -> Body:
        limits = self.table.limits
        body: Body = {"node_type": "worker", "node_id": self.member.me.node_id}
        body.update({"boot_id": self.boot_id, "host_name": self.member.me.host_name, "minor": 0})
        body.update({"features": [], "max_in_flight": limits["max_in_flight"]})
        body.update({"max_frame": limits["max_frame"], "listen_port": self.port})
        return {**body, "pid": os.getpid(), "version": "python"}

    def specs(self) -> Body:
        specs = {"kinds": list(KINDS), "labels": self.tasks.labels, "resources": {}}
        return {"cores": self.tasks.cores, "memory": self.tasks.memory, "specs": specs}

    # What is asked of us.

    def serve(self, peer: Conversation, kind: str, body: Body, respond: Respond) -> None:
        if kind in ("TaskStarted", "TaskError", "TaskCompleted"):
            respond("NotMine", {})
            return
        handler = getattr(self, f"on_{kind}", None)
        is_denied = kind in ("BlobRead", "BlobRelease") and (peer.peer or {}).get("node_type") != "manager"
        if handler is None or is_denied:
            respond("Error", {"code": "wrong-role", "message": "not for a worker"})
        elif kind in OF_THE_MANAGER and not self.link.is_from_manager(peer, body.get("rel")):
            respond("NotMine", {})
        else:
            handler(peer, body, respond)

    def on_ManagerRequest(self, _: Conversation, __: Body, respond: Respond) -> None:
        respond("ManagerAnswer", {"accepted": False})

    def on_ManagerBye(self, peer: Conversation, body: Body, respond: Respond) -> None:
        respond("Ack", {})
        self.link.bye(peer, body["rel"])

    def on_ManagerPing(self, _: Conversation, body: Body, respond: Respond) -> None:
        free = 0 if self.tasks.is_draining else self.tasks.free_cores
        load = {"free_slots": free, "running": len(self.tasks.active)}
        respond("ManagerPong", {"rel": body["rel"], **load})

    def on_TasksExecute(self, _: Conversation, body: Body, respond: Respond) -> None:
        is_fenced = body["epoch"] < self.link.epochs.get(self.link.served or "", 0)
        if is_fenced or body["boot"] != self.boot_id:
            respond("NotMine", {})
            return
        refused = []
        fields = self.table.definitions["Assignment"]["properties"]
        for order in body["tasks"]:
            reason = self.tasks.take({key: order[key] for key in order if key in fields})
            if reason is not None:
                refused.append({"task_id": order["task_id"], "reason": reason})
            if reason == "busy":
                refused[-1]["retry_after_ms"] = BUSY_MS
        if refused:
            respond("TasksRefused", {"refused": refused})
        else:
            respond("Ack", {})
        self.tasks.pump()

    def on_TasksPing(self, _: Conversation, body: Body, respond: Respond) -> None:
        pairs = [[task_id, self.tasks.status(task_id)] for task_id in body["tasks"]]
        respond("TasksPong", {"tasks_status": pairs})

    def on_TasksAbord(self, _: Conversation, body: Body, respond: Respond) -> None:
        open_ones = [1]

        def gone() -> None:
            open_ones[0] -= 1
            if open_ones[0] == 0:
                respond("Ack", {})

        for one in body["tasks"]:
            task_id, attempt = (one, None) if isinstance(one, str) else (one["task_id"], one["attempt"])
            if self.tasks.abort(task_id, attempt, gone):
                open_ones[0] += 1
        gone()

    def on_TaskOutputRead(self, _: Conversation, body: Body, respond: Respond) -> None:
        self.tasks.read(body, respond)

    def on_TaskInput(self, _: Conversation, body: Body, respond: Respond) -> None:
        self.tasks.type(body, respond)

    def on_BlobRead(self, peer: Conversation, body: Body, respond: Respond) -> None:
        self.tasks.read_blob(body, ledger_of_peer(peer), respond)

    def on_BlobRelease(self, peer: Conversation, body: Body, respond: Respond) -> None:
        self.tasks.release_blobs(body["refs"], ledger_of_peer(peer))
        respond("Ack", {})

    # Connections.

    async def open_door(self) -> asyncio.AbstractServer:
        tls: dict[str, Any] = {"ssl": self.member.contexts[True], "ssl_handshake_timeout": GREETING_S}
        server = await asyncio.start_server(self.knocked, "127.0.0.1", self.options.port, **tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def knocked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio.ensure_future(self.door(Streams(reader, writer)))

    async def door(self, streams: Streams) -> None:
        writer = streams.writer
        try:
            party = await asyncio.wait_for(self.member.admit(streams), GREETING_S)
        except Refused as refused:
            headers = {"Connection": "close", "manyhands-refused": refused.reason}
            body = f"{refused.reason}\n"
            headers["Content-Length"] = str(len(body))
            streams.say(f"HTTP/1.1 {refused.status} Refused", headers, body)
            writer.close()
            return
        except (OSError, EOFError, asyncio.TimeoutError):
            writer.transport.abort()
            return
        await self.converse(streams, party, dialled=False)

    async def converse(self, streams: Streams, party: Party, dialled: bool) -> None:
        raw = streams.writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = self.table.limits["max_frame"]
        await Conversation(self, WebSocket(streams, dialled, limit), party).run()

    def introduced(self, peer: Conversation) -> None:
        """Two nodes keep one connection."""
        body, current = peer.peer or {}, self.current.get(peer.party.node_id)
        if peer.party.node_id == self.member.me.node_id:
            is_me = body["boot_id"] == self.boot_id
            peer.end(ONESELF if is_me else COPIED, "this is the node itself")
        elif current is None:
            self.admit(peer)
        elif is_same_boot(current, peer) and current.party.role != peer.party.role:
            peer.end(FALSE_CLAIM, "another role than before in the same boot")
            current.end(FALSE_CLAIM, "another role in the same boot")
        else:
            is_crossing = current.socket.dialled != peer.socket.dialled
            is_crossing = is_crossing and abs(current.opened_ms - peer.opened_ms) < CROSSING_MS
            if is_crossing and is_same_boot(current, peer):
                is_smaller = self.member.me.node_id < peer.party.node_id
                if peer.socket.dialled == is_smaller:
                    current.end(TWICE, "the other connection is kept")
                    self.replace(current, peer)
                else:
                    peer.end(TWICE, "already connected")
            else:
                self.probe(current, peer)

    def probe(self, current: Conversation, peer: Conversation) -> None:
        """Keeps the older one if it still answers a WebSocket ping."""
        peer.socket.go.clear()

        def alive() -> None:
            timer.cancel()
            current.socket.on_pong.remove(alive)
            is_same = is_same_boot(current, peer)
            peer.end(TWICE if is_same else COPIED, "already connected")
            peer.socket.go.set()

        def silent() -> None:
            current.socket.on_pong.remove(alive)
            current.terminate("half open: a new connection came and this one does not answer")
            self.replace(current, peer)
            peer.socket.go.set()

        timer = after(PROBE_MS, silent)
        current.socket.on_pong.append(alive)
        current.socket.send(b"", PING)

    def replace(self, old: Conversation, peer: Conversation) -> None:
        self.ended(old)
        if not peer.is_over:
            self.admit(peer)

    def admit(self, peer: Conversation) -> None:
        self.current[peer.party.node_id] = peer
        log("connected", peer=peer.name, role=peer.party.role)
        if peer.party.role == "manager":
            self.link.connected(peer)

    def ended(self, peer: Conversation) -> None:
        code, why = peer.why
        if self.current.get(peer.party.node_id) is not peer:
            return
        del self.current[peer.party.node_id]
        log("disconnected", peer=peer.name, code=code, why=why)
        self.link.lost(peer)
        self.lost.set()

    def addresses(self) -> list[tuple[str, int]]:
        """Where managers are: as told, and as they wrote into the state directory."""
        found = [split_address(text) for text in self.options.join]
        nodes = os.path.join(self.options.state, "nodes")
        for folder in sorted(os.listdir(nodes)):
            if folder.startswith("manager@"):
                url = read_json(os.path.join(nodes, folder, "address.json")).get("url", "")
                if isinstance(url, str) and re.fullmatch(r"wss://(127\.[\d.]+|\[::1\]):\d+", url):
                    found.append(split_address(url))
        return list(dict.fromkeys(found))

    async def seek(self) -> None:
        """Keeps a connection to every manager that there is."""
        dialling: set[tuple[str, int]] = set()

        async def dial(at: tuple[str, int]) -> None:
            try:
                streams, party = await asyncio.wait_for(self.member.dial(*at), GREETING_S)
                self.known[at] = party.node_id
                await self.converse(streams, party, dialled=True)
            except (Refused, OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
                self.known.pop(at, None)
                log("cannot-connect", to=f"{at[0]}:{at[1]}", why=error or "no answer in time")
            finally:
                dialling.discard(at)

        pause_ms = 50.0
        while True:
            missing = [at for at in self.addresses() if self.known.get(at) not in self.current]
            for at in missing:
                if at not in dialling:
                    dialling.add(at)
                    asyncio.ensure_future(dial(at))
            self.lost.clear()
            pause_ms = min(pause_ms * 2, MOST_BACKOFF_MS)
            if not missing:
                pause_ms = MOST_BACKOFF_MS if self.current else BACKOFF_MS
            try:
                await asyncio.wait_for(self.lost.wait(), pause_ms * (0.5 + random.random() / 2) / 1000)
                pause_ms = 50.0  # dialled again at once, then with back-off
            except asyncio.TimeoutError:
                pass

    # Its life.

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        slot: Slot = self.options.slot
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.on_signal)
        server = await self.open_door()
        me, url = self.introduction(), f"wss://127.0.0.1:{self.port}"
        names = ("node_id", "boot_id", "host_name", "pid")
        address = {**{name: me[name] for name in names}, "role": "worker", "url": url}
        slot.write("address.json", json.dumps(address))
        print(f"{self.options.name} (worker) listens on {url}", flush=True)
        seeking = asyncio.ensure_future(self.seek())
        await self.stopped.wait()
        await self.drain()
        seeking.cancel()
        server.close()
        for peer in list(self.current.values()):
            peer.end(1001, "the node is closing")
        await asyncio.sleep(0.05)

    def stop(self, why: str) -> None:
        log("stopping", why=why)
        self.stopped.set()

    def on_signal(self) -> None:
        if self.stopped.is_set():
            for task in self.tasks.active:
                if task.job is not None:
                    task.job.signal(signal.SIGKILL)
            self.options.slot.release()
            os._exit(1)
        self.stopped.set()

    async def drain(self) -> None:
        """Takes no new work, lets tasks end, ends the rest, delivers, says bye."""
        tasks = self.tasks
        log("draining", running=len(tasks.active))
        tasks.is_draining = True
        await until(lambda: not tasks.active, self.options.grace)
        tasks.end_all()
        graces = [task.order.get("kill_grace_ms", 0) for task in tasks.active]
        await until(lambda: not tasks.active, max([KILL_GRACE_MS, *graces]) / 1000 + LEAVE_S)
        await until(lambda: all(task.is_parked for task in tasks.tasks.values()), FLUSH_S)
        await until(lambda: not tasks.is_being_read(), FLUSH_S)
        await self.link.leave()


# What our manager alone may ask, within the relationship.
OF_THE_MANAGER = {"ManagerPing", "TasksExecute", "TasksPing", "TasksAbord", "TaskOutputRead", "TaskInput"}


async def until(is_so: Callable[[], bool], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < end:
        await asyncio.sleep(0.01)


def split_address(text: str) -> tuple[str, int]:
    host, _, port = text.replace("wss://", "").rstrip("/").rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or not re.fullmatch(r"localhost|::1|127(\.\d{1,3}){3}", host):
        raise SystemExit(f"expected HOST:PORT of this machine's loopback, got {text}")
    return host, int(port)


def self_test(table: Table, path: str) -> None:
    """Takes and refuses the golden bytes; a frame that is taken is written anew, in hex, a line each."""
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    for one in golden["frames"]:
        frame = Unpacker(bytes.fromhex(one["hex"])).frame()
        row = table.exchanges[one["kind"]]
        answers = {**row["answers"], "Error": table.error}
        fault = table.fault(row["request"] if "q" in frame else answers[frame["k"]], frame["b"])
        if fault is not None or as_json(frame) != one["frame"]:
            raise SystemExit(f"{one['hex']} is read as {frame}, wrong at {fault}")
        print(pack(frame).hex())
    for one in golden["refused"]:
        try:
            frame = read_frame(bytes.fromhex(one["hex"]))
        except NotAFrame:
            continue
        raise SystemExit(f"{one['why']}: read as {frame}")


def as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    base = os.environ.get("XDG_STATE_HOME", "")
    base = base if base.startswith("/") else os.path.expanduser("~/.local/state")
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:55].strip("-_") or "node"
    parser = argparse.ArgumentParser(description="A Manyhands worker in Python.")
    parser.add_argument("--state", default=os.path.join(base, "manyhands"))
    parser.add_argument("--name", default=f"{host}-python")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--join", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    bytes_here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    parser.add_argument("--memory", type=int, default=bytes_here, help="bytes")
    parser.add_argument("--label", action="append", default=[], metavar="K=V")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds")
    parser.add_argument("--protocol", default=os.path.join(here, "..", "protocol", "manyhands.json"))
    parser.add_argument("--self-test", metavar="FILE")
    options = parser.parse_args()
    table = Table(options.protocol)
    if options.self_test:
        self_test(table, options.self_test)
        return
    options.state = os.path.abspath(options.state)
    member = read_member(options.state, options.name)  # before anything is written there
    options.slot = Slot(options.state, options.name)
    try:

        async def live() -> None:
            await Node(options, table, member).live()

        asyncio.run(live())
    finally:
        options.slot.release()


if __name__ == "__main__":
    main()
