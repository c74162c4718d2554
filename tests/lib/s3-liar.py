#!/usr/bin/python3
"""A proxy in front of an S3 gateway that lies as it is told.

    s3-liar.py UPSTREAM      http://host:port of the gateway; prints its own URL in a line, and serves until standard input ends

Control: POST /-/rules with a JSON list of rules replaces all rules and forgets all counts; GET /-/counts tells, as JSON, the requests
since then: {"requests": N, "acted": N, "methods": {"PUT": N, ...}}.

A rule is an object. It matches by "method", "path" and "query" (regular expressions, searched), "has" (a header's name in lower case);
it passes over its first "after" matches and acts on the next "times" (default: all), or on every "every"-th one. What it does:

    "status": N, "body": TEXT, "headers": {...}   answer so; the request is not handed on, unless "forward": true
    "strip": PREFIX                              hand on without the headers that begin so, signed anew, and tell nothing
    "cut_request": N                             hang up when N bytes of the request have arrived; they are handed on first
    "cut_answer": N                              hang up when N bytes of the answer have been sent
    "hang": true                                 never answer
    "reset": true                                with a cut: by RST instead of FIN

Signing anew needs HOLDFAST_S3_KEY and HOLDFAST_S3_SECRET.
"""
import datetime
import json
import os
import re
import socket
import struct
import sys
import threading
import urllib.parse

sys.dont_write_bytecode = True
from sigv4 import authorization  # noqa: E402

HEAD_MAX = 65536
BLOCK = 65536


class Cut(Exception):
    """The connection is to end here."""


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.set([])

    def set(self, rules):
        with self.lock:
            self.rules = rules
            self.seen = [0] * len(rules)
            self.counts = {"requests": 0, "acted": 0, "methods": {}}

    def choose(self, request):
        """The first rule that acts on this request; every rule that matches counts it."""
        with self.lock:
            self.counts["requests"] += 1
            self.counts["methods"][request.method] = self.counts["methods"].get(request.method, 0) + 1
            for i, rule in enumerate(self.rules):
                if not request.matches(rule):
                    continue
                self.seen[i] += 1
                n = self.seen[i] - rule.get("after", 0)
                if n < 1 or n > rule.get("times", n) or n % rule.get("every", 1):
                    continue
                self.counts["acted"] += 1
                return rule
        return None


class Reader:
    """Bytes from a socket, counted; ends with Cut at the limit."""

    def __init__(self, sock):
        self.sock, self.buffer, self.total, self.limit = sock, b"", 0, None

    def more(self):
        data = self.sock.recv(BLOCK)
        if not data:
            raise Cut
        self.buffer += data

    def take(self, n):
        while len(self.buffer) < n:
            self.more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def some(self, most):
        if not self.buffer:
            self.more()
        return self.take(min(most, len(self.buffer)))

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise Cut
            self.more()
        return self.take(self.buffer.index(b"\r\n\r\n") + 4)


class Message:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.headers = [tuple(p.strip() for p in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def get(self, name, otherwise=""):
        return next((v for k, v in self.headers if k.lower() == name), otherwise)

    def bytes(self):
        return "\r\n".join([self.first] + [f"{k}: {v}" for k, v in self.headers] + ["", ""]).encode("latin-1")


class Request(Message):
    def __init__(self, head):
        super().__init__(head)
        self.method, target, _ = self.first.split(" ", 2)
        self.path, _, self.query = target.partition("?")
        self.length = int(self.get("content-length", "0"))

    def matches(self, rule):
        return (re.search("^(" + rule.get("method", ".*") + ")$", self.method) and re.search(rule.get("path", ""), self.path)
                and re.search(rule.get("query", ""), self.query) and (not rule.get("has") or self.get(rule["has"])))

    def strip(self, prefix):
        self.headers = [(k, v) for k, v in self.headers if not k.lower().startswith(prefix)]
        self.sign()

    def sign(self):
        """AWS Signature Version 4 over what is left, in the scope that the client used."""
        scope = re.search(r"Credential=[^/]+/([^,]+),", self.get("authorization")).group(1)
        signed = [(k, v) for k, v in self.headers if k.lower() in ("host", "range", "if-none-match") or k.lower().startswith("x-amz-")]
        value = authorization(self.method, self.path, self.query, signed, os.environ["HOLDFAST_S3_KEY"], os.environ["HOLDFAST_S3_SECRET"], scope)
        self.headers = [(k, v) for k, v in self.headers if k.lower() != "authorization"] + [("authorization", value)]


def hang_up(sock, reset):
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Cut


def answer(sock, status, body, headers, method="GET"):
    data = body.encode("latin-1")
    lines = [f"HTTP/1.1 {status} Told so", "Date: " + datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    if status != 204:
        lines.append(f"Content-Length: {len(data)}")
    sock.sendall("\r\n".join(lines + ["", ""]).encode() + (b"" if method == "HEAD" else data))


class Connection:
    def __init__(self, client, upstream, state):
        self.client, self.address, self.state = client, upstream, state
        self.reader, self.gateway = Reader(client), None

    def serve(self):
        try:
            while True:
                self.one(Request(self.reader.head()))
        except (Cut, OSError, ValueError):
            pass
        finally:
            self.client.close()
            if self.gateway:
                self.gateway.close()

    def control(self, request):
        body = self.reader.take(request.length)
        if request.method == "POST":
            self.state.set(json.loads(body))
        answer(self.client, 200, json.dumps(self.state.counts), {})

    def one(self, request):
        if request.path.startswith("/-/"):
            return self.control(request)
        rule = self.state.choose(request) or {}
        if rule.get("hang"):
            self.reader.sock.settimeout(None)
            while self.reader.sock.recv(BLOCK):
                pass
            raise Cut
        if "status" in rule:
            return self.lie(request, rule)
        if "strip" in rule:
            request.strip(rule["strip"])
        head = request.bytes()
        limit = rule.get("cut_request")
        if limit is not None and limit <= len(head):
            self.upstream().sendall(head[:limit])
            hang_up(self.client, rule.get("reset"))
        self.upstream().sendall(head)
        if "100-continue" in request.get("expect").lower():
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body(request.length, None if limit is None else limit - len(head), rule)
        self.answer_back(request, rule)

    def lie(self, request, rule):
        if "100-continue" in request.get("expect").lower():
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rule.get("forward"):
            self.upstream().sendall(request.bytes())
            self.body(request.length, None, rule)
            self.receive(request, lambda data: None)
        else:
            left = request.length
            while left:
                left -= len(self.reader.some(left))
        answer(self.client, rule["status"], rule.get("body", ""), rule.get("headers", {}), request.method)

    def upstream(self):
        if not self.gateway:
            self.gateway = socket.create_connection(self.address, 20)
            self.gateway.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.back = Reader(self.gateway)
        return self.gateway

    def body(self, length, limit, rule):
        left = length
        while left:
            data = self.reader.some(left)
            if limit is not None and limit < len(data):
                self.upstream().sendall(data[:limit])
                hang_up(self.client, rule.get("reset"))
            if limit is not None:
                limit -= len(data)
            self.upstream().sendall(data)
            left -= len(data)

    def receive(self, request, send):
        """The gateway's answer, byte for byte, to send()."""
        while True:
            head = self.back.head()
            message = Message(head)
            status = int(message.first.split(" ")[1])
            if status == 100:
                continue
            break
        send(head)
        if request.method == "HEAD" or status in (204, 304):
            return
        if message.get("transfer-encoding").lower() == "chunked":
            while True:
                while b"\r\n" not in self.back.buffer:
                    self.back.more()
                line = self.back.take(self.back.buffer.index(b"\r\n") + 2)
                size = int(line.split(b";")[0], 16)
                send(line + self.back.take(size + 2))
                if not size:
                    return
        left = int(message.get("content-length", "0"))
        while left:
            data = self.back.some(left)
            left -= len(data)
            send(data)

    def answer_back(self, request, rule):
        left = rule.get("cut_answer")

        def send(data):
            nonlocal left
            if left is None:
                return self.client.sendall(data)
            self.client.sendall(data[:left])
            if len(data) >= left:
                hang_up(self.client, rule.get("reset"))
            left -= len(data)

        self.receive(request, send)


def main():
    upstream = urllib.parse.urlparse(sys.argv[1])
    state = State()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    def accept():
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(60)
            threading.Thread(target=Connection(client, (upstream.hostname, upstream.port), state).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
