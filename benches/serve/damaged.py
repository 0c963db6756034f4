"""Requests damaged in a thousand ways: the server answers or hangs up, stays alive, and keeps its memory.

    python3 benches/serve/damaged.py target/release/rectiflow demo --seconds 60

Starts `rectiflow serve` on a free port of this machine and sends whole requests (a picture, an edit with a file, jobs, the lists) with bytes
turned over, cut out, doubled, put in other places, lengths that are none, and connections cut off. What is wrong: an answer that is no
HTTP, a status of 500 and more but 503, ten seconds of silence, a process that ended, a picture that is drawn wrongly afterwards, memory
that has grown by more than 200 MB. Same seed, same requests. Needs Python 3.9 and nothing else.
"""

import argparse
import collections
import json
import random
import select
import socket
import struct
import sys
import time
import zlib

from load import Server, draw

def png(side):
    """A small grey picture."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(side)) for y in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def whole():
    """Requests as clients write them."""
    draw_body = json.dumps({"prompt": "", "class": "none", "seed": 1, "steps": 1, "n": 1, "size": "28x28"}).encode()
    part = b'--X\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    edit = b"".join(
        [
            part % (b"image", b'; filename="a.png"\r\nContent-Type: image/png', png(28)),
            part % (b"prompt", b"", b"Bag"),
            part % (b"n", b"", b"1"),
            b"--X--\r\n",
        ]
    )
    job = json.dumps({"class": "Bag", "seed": 3, "steps": 1}).encode()

    def post(path, kind, body):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    chunked = b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    chunked += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(draw_body), draw_body)
    gets = ["/", "/v1/models", "/healthz", "/metrics", "/openapi.json", "/api/jobs", "/api/jobs/1", "/sdapi/v1/progress"]
    return [
        post("/v1/images/generations", "application/json", draw_body),
        post("/v1/images/edits", "multipart/form-data; boundary=X", edit),
        post("/api/jobs", "application/json", job),
        post("/sdapi/v1/txt2img", "application/json", b'{"prompt": "", "steps": 1, "seed": 2, "width": 28, "height": 28}'),
        chunked,
    ] + [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode() for path in gets]


ODD = [b"0", b"-1", b"99999999999999999999", b"0x10", b"1e309", b"NaN", b"\0", b"\r\n\r\n", b"../../etc/passwd", b"%00", b"\xff\xfe", b"{" * 200]


# Seconds after which a request that is not answered counts as not whole.
WHOLE = 0.1


def damaged(requests, dice):
    out = bytearray(dice.choice(requests))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        end = min(len(out), at + dice.randint(1, 24))
        kind = dice.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del out[at:end]
        elif kind == 2:
            out[at:at] = out[at:end]
        elif kind == 3:
            out[at:end] = dice.choice(ODD)
        elif kind == 4:
            other = dice.choice(requests)
            out[at:end] = other[dice.randrange(len(other)):][: dice.randint(1, 80)]
        elif dice.random() < 0.3:
            del out[at:]
    return bytes(out)


def ask(port, request, dice):
    """What came back: a status, `closed`, `silence`, or `no HTTP`. Of a request that seems not whole the rest is said not to come."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            line.sendall(request)
            if dice.random() < 0.05:
                return "left"
            if not select.select([line], [], [], WHOLE)[0]:
                line.shutdown(socket.SHUT_WR)
            answer = line.recv(65536)
        except socket.timeout:
            return "silence"
        except OSError:
            return "closed"
    if not answer:
        return "closed"
    return answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "no HTTP"


def tried(server, asked):
    """Counts of answers, what was wrong, whether a picture is drawn as before, and megabytes grown."""
    dice = random.Random(asked.seed)
    requests = whole()
    for request in requests:
        print(request.split(b"\r\n")[0].decode(), ask(server.port, request, random.Random(1)), flush=True)
    before, _ = draw(server.connection(), 7, 2)
    memory = server.memory()[0]
    found, wrong, end = collections.Counter(), [], time.time() + asked.seconds
    while time.time() < end and len(wrong) < 20:
        request = damaged(requests, dice)
        try:
            answer = ask(server.port, request, dice)
        except OSError as error:
            answer = f"no connection ({error})"
        found[answer] += 1
        bad = answer in ("silence", "no HTTP") or answer.startswith("no connection")
        if bad or (answer.startswith("5") and answer != "503"):
            wrong.append((answer, request))
        if server.process.poll() is not None:
            wrong.append(("the server ended", request))
            break
    for _ in range(600):  # what is queued is drawn
        if server.process.poll() is None and server.metric("rectiflow_queued_images") > 0:
            time.sleep(0.1)
    same = server.process.poll() is None and draw(server.connection(), 7, 2)[0] == before
    grown = server.memory()[0] - memory if server.process.poll() is None else 0.0
    return found, wrong, same, grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    server = Server(asked.program, asked.model, ["--threads", "1"])
    try:
        found, wrong, same, grown = tried(server, asked)
    finally:
        server.process.kill()
    print(f"{sum(found.values())} requests: " + ", ".join(f"{count} {what}" for what, count in found.most_common()))
    print(f"memory grew by {grown:.0f} MB; the picture afterwards is {'the same' if same else 'ANOTHER'}")
    for answer, request in wrong:
        print(f"{answer}: {request!r}")
    sys.exit(bool(wrong) or not same or grown > 200)


if __name__ == "__main__":
    main()
