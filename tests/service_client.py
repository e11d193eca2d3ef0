"""A client of the service as a careful user would write it: every order has an idempotency key, and is sent again until it
is answered, to whichever server answers. What was accepted is written down, so that a client that was killed goes on where
its predecessor was.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from service_doors import data_uri, picture_file

PATIENCE_S = 60.0  # an order that nobody answers so long is a fault
LEAST = 3  # orders of each client: with three clients every kind comes at least once


class Client:
    """Orders pictures, edits, clips, batches and uploads from `ports`, one after the other, until the file `stop` is there and
    there were a few. `number` names the client; its journal `client-NUMBER` in `folder` has a JSON object a line (see `written`).
    """

    def __init__(self, *, folder: Path, stop: Path, number: int, ports: list[int], secret: str) -> None:
        self.stop, self.number = stop, number
        self.journal = folder / f"client-{number}"
        self.servers = [f"http://127.0.0.1:{port}" for port in ports]
        self.http = httpx.Client(headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE_S, trust_env=False)

    def run(self) -> None:
        kinds = (self.picture, self.picture, self.edit, self.clip, self.batch, self.upload, self.removed)
        before = sum(each["kind"] == "complete" for each in written(self.journal))
        while before < LEAST or not self.stop.exists():
            chance = random.Random(f"{self.number}/{before}")  # the same order again after a kill
            kinds[(before + 3 * self.number) % len(kinds)](f"{self.number}-{before}", chance)
            self.write(kind="complete")
            before += 1

    def write(self, **fields: Any) -> None:
        """One line of the journal."""
        handle = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, json.dumps(fields).encode() + b"\n")
        os.close(handle)

    def ask(self, method: str, path: str, *, missing: bool = False, **sent: Any) -> Any:
        """The JSON of the first answer that is a success (or, with `missing`, a 404); refusals for a while are waited out."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.http.request(method, random.choice(self.servers) + path, **sent)
            except httpx.TransportError:
                answer = None
            if answer is not None and (answer.is_success or (missing and answer.status_code == 404)):
                return answer.json()
            if answer is not None and answer.status_code not in (429, 503):
                self.write(kind="fault", said=f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                raise SystemExit(f"{path} was answered with {answer.status_code}")
            if time.monotonic() > until:
                self.write(kind="fault", said=f"{method} {path} was not answered in {PATIENCE_S} s")
                raise SystemExit(f"{path} was not answered")
            time.sleep(0.02)

    def picture(self, name: str, chance: random.Random) -> None:
        """One or two pictures, now and then ordered twice under the same idempotency key."""
        body = {"prompt": f"a red cat {name}", "seed": chance.randrange(10, 1000), "n": chance.choice([1, 1, 2])}
        self._drawn("/v1/images/generations", name, body, chance)

    def edit(self, name: str, chance: random.Random) -> None:
        """A picture sent along and changed."""
        image = {"url": data_uri(picture_file(grey=chance.randrange(256)))}
        self._drawn("/v1/images/edits", name, {"prompt": f"make it blue {name}", "image": image}, chance)

    def clip(self, name: str, chance: random.Random) -> None:
        """A clip, now and then ordered twice under the same idempotency key."""
        for _ in range(chance.choice([1, 2])):
            self.write(kind="clip", key=name, id=self._clip_id(name))

    def batch(self, name: str, chance: random.Random) -> None:
        """A batch of pictures and a clip, now and then opened twice under the same idempotency key."""
        for _ in range(chance.choice([1, 2])):
            batch_id = self.ask("POST", "/v1/batches", json={"name": name}, headers={"idempotency-key": name})[
                "batch_id"
            ]
        drawing = {"image_generation": {"prompt": f"a green dog {name}", "seed": chance.randrange(10, 1000)}}
        requests = [
            {"batch_request_id": f"{name}-{n}", "batch_request": drawing} for n in range(chance.randrange(1, 5))
        ]
        clip = {"video_generation": {"prompt": f"a green dog runs {name}", "duration": 1}}
        requests.append({"batch_request_id": f"{name}-clip", "batch_request": clip})
        self.ask("POST", f"/v1/batches/{batch_id}/requests", json={"batch_requests": requests})
        self.write(kind="batch", id=batch_id, requests=[each["batch_request_id"] for each in requests])

    def upload(self, name: str, chance: random.Random) -> None:
        """A file of up to 400 kB, now and then sent twice under the same idempotency key."""
        content = chance.randbytes(chance.randrange(1, 400_000))
        sent = {"files": {"file": (f"{name}.bin", content)}, "data": {"purpose": "vision"}}
        for _ in range(chance.choice([1, 2])):
            made = self.ask("POST", "/v1/files", **sent, headers={"idempotency-key": name})
            self.write(kind="upload", id=made["id"], sha256=hashlib.sha256(content).hexdigest())

    def removed(self, name: str, chance: random.Random) -> None:
        """A clip that is deleted again, finished or not."""
        clip_id = self._clip_id(name)
        time.sleep(chance.uniform(0, 0.2))
        self.ask("DELETE", f"/v1/videos/{clip_id}", missing=True)  # 404: the first try was done and not answered
        self.write(kind="removed", id=clip_id)

    def _drawn(self, path: str, name: str, body: dict[str, Any], chance: random.Random) -> None:
        for _ in range(chance.choice([1, 1, 2])):
            answer = self.ask("POST", path, json=body, headers={"idempotency-key": name})
            pictures = [base64.b64decode(each["b64_json"]) for each in answer["data"]]
            self.write(kind="picture", key=name, sha256=[hashlib.sha256(each).hexdigest() for each in pictures])

    def _clip_id(self, name: str) -> str:
        body = {"prompt": f"a red cat runs {name}", "model": "fake-video", "duration": 1}
        path = "/v1/videos/generations"
        return self.ask("POST", path, json=body, headers={"idempotency-key": name})["request_id"]


def written(journal: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal. `kind` is picture, clip, batch, upload or removed for what a server accepted;
    complete or fault for notes of the client."""
    if journal.exists():
        for line in journal.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)
