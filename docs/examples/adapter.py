#!/usr/bin/env python3
"""An adapter in plain Python, for docs/adapter-socket.md: a cart that turns its velocity commands into a speed.

    adapter.py FOLDER       the folder that the agent waits in for this adapter

Replace `Cart` by what talks to your robot; the rest can stay as it is. Everything that is not as the protocol says ends the
session, and a session that ends stops the cart.
"""

import hashlib
import hmac
import json
import os
import secrets
import socket
import struct
import sys
import threading
import time

VERSION = 1
LONGEST = 128 * 1024
DOMAIN = b"alcub3/adapter-link/v1"


class SessionEnded(Exception):
    """The session ended; why, as a code and words."""


class Cart:
    """The robot. `stop` must not wait for what `execute` may hold."""

    def __init__(self):
        self.lock = threading.Lock()
        self.speed_mm_per_s = 0
        self.stops = 0

    def describe(self):
        def sha256(data):
            return "sha256:" + hashlib.sha256(data).hexdigest()

        whole = {"type": "int", "least": -1500, "most": 1500}
        velocity = [{"name": "velocity_x_mm_per_s", "required": True, "limit": whole}]
        return {
            "identity": {"platform": "custom", "model": "example cart", "serial": "CART-7"},
            "inventory": {
                "firmware": [{"subsystem": "wheels", "version": "3.1", "image": sha256(b"wheels 3.1")}],
                "calibration": [{"sensor": "odometer", "calibration": sha256(b"17 ticks per mm")}],
                "parts": [{"class": "motor-controller", "slot": "left-wheel", "serial": "W-0042"}],
            },
            "capabilities": {
                "commands": [
                    {"name": "move.velocity", "arguments": velocity},
                    {"name": "move.hold", "arguments": []},
                ],
                "stops": [
                    {"level": "hold", "meaning": "brakes and stays powered", "at_rest_within_ms": 500},
                    {"level": "controlled-off", "meaning": "brakes, then opens the motor relay", "at_rest_within_ms": 700},
                ],
            },
        }

    def execute(self, name, arguments, after_stops):
        """Nothing, or the code and words of a refusal."""
        with self.lock:
            if after_stops < self.stops:
                return "stopped", "a stop overtook the command"
            self.speed_mm_per_s = arguments.get("velocity_x_mm_per_s", 0) if name == "move.velocity" else 0
            return None

    def stop(self, number, level):
        with self.lock:
            self.stops = max(self.stops, number)
            self.speed_mm_per_s = 0

    def telemetry(self):
        return {"speed_mm_per_s": abs(self.speed_mm_per_s), "battery_permille": 640, "payload": [], "faults": []}


class Connection:
    """One connection: frames of four bytes of length and one JSON object."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(1)
        self.socket.connect(path)
        self.sending = threading.Lock()
        self.beats = 0

    def send(self, kind, **fields):
        message = json.dumps({"type": kind, **fields}).encode()
        with self.sending:
            self.socket.sendall(struct.pack(">I", len(message)) + message)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise SessionEnded("closed", "the agent closed the connection")
            data += piece
        return data

    def receive(self):
        (length,) = struct.unpack(">I", self.exactly(4))
        if length > LONGEST:
            raise SessionEnded("frame-too-long", f"{length} bytes")
        message = json.loads(self.exactly(length))
        if message["type"] == "refused":
            raise SessionEnded(message["code"], message["text"])
        return message

    def receive_one(self, kind):
        message = self.receive()
        if message["type"] != kind:
            raise SessionEnded("message-unexpected", message["type"])
        return message

    def prove(self, key, channel, session):
        """Proves this end, once the agent has proven that it holds the session's key."""
        nonce = secrets.token_bytes(32)
        self.send("hello", version=VERSION, channel=channel, session=session, nonce=nonce.hex())
        challenge = self.receive_one("challenge")

        def proof(role):
            about = b"\0".join([DOMAIN, role, channel.encode(), session.encode(), b""])
            return hmac.new(key, about + nonce + bytes.fromhex(challenge["nonce"]), hashlib.sha256).hexdigest()

        if not hmac.compare_digest(proof(b"agent"), challenge["proof"]):
            raise SessionEnded("not-authentic", "who listens at the socket is not the agent")
        self.send("proof", proof=proof(b"adapter"))
        return self.receive_one("welcome")

    def beat(self):
        self.send("beat", count=self.beats)
        self.beats += 1


def serve(folder, robot):
    """One session. Returns never; raises when it ended."""
    with open(os.path.join(folder, "key"), encoding="ascii") as file:
        key = bytes.fromhex(file.read().strip())
    path = os.path.join(folder, "socket")
    robot.stops = 0
    drive = Connection(path)
    welcome = drive.prove(key, "drive", "")
    stop = Connection(path)
    stop.prove(key, "stop", welcome["session"])
    for connection in (drive, stop):
        connection.socket.settimeout(welcome["timeout_ms"] / 1000)
    ended = threading.Event()
    reasons = []

    def until_ended(work):
        try:
            while not ended.is_set():
                work()
        except (SessionEnded, OSError, ValueError, KeyError) as reason:
            reasons.append(reason)
        finally:
            robot.stop(robot.stops, "controlled-off")
            ended.set()

    def take_stop():
        message = stop.receive()
        if message["type"] == "stop":
            robot.stop(message["number"], message["level"])
            stop.send("stopped", number=message["number"])

    def take_command():
        message = drive.receive()
        if message["type"] == "command":
            refused = robot.execute(message["name"], message["arguments"], message["after_stops"])
            if refused is None:
                drive.send("done", number=message["number"])
            else:
                drive.send("not-done", number=message["number"], code=refused[0], text=refused[1])

    def tell():
        drive.send("telemetry", telemetry=robot.telemetry())
        stop.beat()
        drive.beat()
        time.sleep(welcome["beat_ms"] / 1000)

    drive.send("describe", description=robot.describe())
    threads = [threading.Thread(target=until_ended, args=[work], daemon=True) for work in (take_stop, take_command, tell)]
    for thread in threads:
        thread.start()
    ended.wait()
    drive.socket.close()
    stop.socket.close()
    raise reasons[0] if reasons else SessionEnded("closed", "")


def main():
    robot = Cart()
    while True:
        try:
            serve(sys.argv[1], robot)
        except (SessionEnded, OSError, ValueError) as reason:
            print(f"no session: {reason!r}", file=sys.stderr, flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
