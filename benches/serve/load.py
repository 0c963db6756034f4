"""How a server behaves under load: latency, throughput, and whether every picture is right.

    python3 benches/serve/load.py target/release/rectiflow runs/base --requests 200 --steps 10

Starts `rectiflow serve` on a free port of this machine, takes the time from start to the first picture, then lets 1, 4 and 16
clients ask as fast as they are answered, each picture by a seed of its own, and compares all of them with those that the same
server draws one by one. With `--overload`, as many clients as four queues hold ask at once, and wait as they are told to where
the queue is full. Needs Python 3.9 and nothing else.
"""

import argparse
import http.client
import json
import re
import subprocess
import sys
import threading
import time


class Server:
    def __init__(self, program, model, more):
        began = time.perf_counter()
        command = [program, "serve", model, "--listen", "127.0.0.1:0", *more]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if not found:
            sys.exit(f"no server: {line}{self.process.stderr.read()}")
        self.port = int(found[1])
        self.listening = time.perf_counter() - began
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def memory(self):
        """Resident megabytes now and at most."""
        text = open(f"/proc/{self.process.pid}/status").read()
        return [int(re.search(rf"{key}:\s+(\d+)", text)[1]) / 1024 for key in ("VmRSS", "VmHWM")]

    def metric(self, name):
        connection = self.connection()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def draw(connection, seed, steps):
    """One picture, and how often the queue was full before."""
    body = json.dumps({"prompt": "", "class": "none", "seed": seed, "steps": steps, "response_format": "b64_json"})
    turned = 0
    while True:
        connection.request("POST", "/v1/images/generations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 429:
            turned += 1
            time.sleep(float(answer.headers["Retry-After"]) * 0.2)
            continue
        if answer.status != 200:
            sys.exit(f"{answer.status}: {text.decode()}")
        return json.loads(text)["data"][0]["b64_json"], turned


def together(server, clients, requests, steps):
    """Pictures by seed, seconds each took, seconds of all, and how often a client was turned away."""
    pictures, times, turned, lock, left = {}, [], [0], threading.Lock(), iter(range(requests))

    def client():
        connection = server.connection()
        while True:
            with lock:
                seed = next(left, None)
            if seed is None:
                return
            began = time.perf_counter()
            picture, full = draw(connection, seed, steps)
            took = time.perf_counter() - began
            with lock:
                pictures[seed] = picture
                times.append(took)
                turned[0] += full

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return pictures, sorted(times), time.perf_counter() - began, turned[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--overload", type=int, default=0, metavar="REQUESTS")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--queue", type=int, default=64)
    options = parser.parse_args()
    more = ["--queue", str(options.queue), "--max-connections", "1024"]
    more += ["--threads", str(options.threads)] if options.threads else []

    began = time.perf_counter()
    server = Server(options.program, options.model, more)
    draw(server.connection(), 0, options.steps)
    first = time.perf_counter() - began
    print(f"listening after {server.listening:.3f} s, first picture after {first:.3f} s, {server.memory()[0]:.0f} MB resident")

    print("| clients | pictures/s | p50 ms | p99 ms | pictures in a batch |\n|---|---|---|---|---|")
    alone = None
    for clients in [1, 4, 16]:
        before = [server.metric("rectiflow_batched_images_total"), server.metric("rectiflow_batches_total")]
        pictures, times, seconds, _ = together(server, clients, options.requests, options.steps)
        after = [server.metric("rectiflow_batched_images_total"), server.metric("rectiflow_batches_total")]
        size = (after[0] - before[0]) / (after[1] - before[1])
        quantile = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))]
        print(f"| {clients} | {options.requests / seconds:.1f} | {quantile(0.5):.1f} | {quantile(0.99):.1f} | {size:.1f} |", flush=True)
        alone = alone or pictures
        wrong = sum(pictures[seed] != alone[seed] for seed in pictures)
        if wrong or len(pictures) != options.requests:
            sys.exit(f"{wrong} of {len(pictures)} pictures differ from those drawn one by one")

    if options.overload:
        expected = {seed: picture for seed, picture in alone.items()}
        rest = server.memory()
        pictures, _, seconds, turned = together(server, 4 * options.queue, options.overload, options.steps)
        wrong = sum(pictures[seed] != picture for seed, picture in expected.items() if seed in pictures)
        now = server.memory()
        print(
            f"{4 * options.queue} clients, {options.overload} requests: {len(pictures)} answered in {seconds:.1f} s, {turned} times "
            f"turned away, {wrong} wrong of {min(len(expected), len(pictures))} compared; {rest[0]:.0f} MB before, {now[0]:.0f} after, {now[1]:.0f} at most"
        )
        if wrong or len(pictures) != options.overload:
            sys.exit(1)

    server.process.terminate()
    print(f"asked to end, it ended with code {server.process.wait(30)}")


if __name__ == "__main__":
    main()
