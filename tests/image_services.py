"""Image services of others, played on 127.0.0.1: each refuses what the real one refuses and answers as it does."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Answer = tuple[int, dict[str, str], bytes]
KNOWN = {
    "openai": {"prompt", "n", "model", "size", "quality", "stream", "partial_images", "image", "image[]", "mask"},
    "xai": {"prompt", "n", "model", "aspect_ratio", "resolution", "quality", "response_format", "image", "images"},
    "vllm-omni": {
        "prompt", "n", "model", "size", "seed", "negative_prompt", "response_format", "image", "mask_image",
    },
    "sglang": {"prompt", "n", "model", "size", "seed", "negative_prompt", "response_format", "image"},
    "localai": {"prompt", "n", "model", "size", "seed", "response_format", "files", "image", "mask"},
}  # fmt: skip


def picture(height: int = 24, width: int = 32, shade: int = 7) -> np.ndarray:
    return np.full((height, width, 3), shade, np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def bare(pixels: np.ndarray) -> str:
    return base64.b64encode(png(pixels)).decode()


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer."""
    return status, {"content-type": "application/json", **headers}, json.dumps(body).encode()


@dataclass(kw_only=True)
class Request:
    """What a client sent: a GET has no fields; files stand among the fields as bytes, lists where a name comes twice."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]


@dataclass
class Service:
    """A service under its address. `next_answers` come before its own; `slow` holds every answer back until it is set."""

    dialect: str
    requests: list[Request] = field(default_factory=list)
    next_answers: list[Callable[[Request], Answer] | Answer | None] = field(default_factory=list)
    slow: threading.Event | None = None
    well: bool = True
    url: str = ""

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.path.startswith("/v1/images")]

    def respond(self, request: Request) -> Answer | None:
        """None breaks the connection off."""
        self.requests.append(request)
        if request.path == "/made.png":
            return 200, {"content-type": "image/png"}, png(picture())
        if not request.path.startswith("/v1/images"):
            return answer({"data": []}, 200 if self.well else 500)
        if self.slow:
            self.slow.wait(20)
        if self.next_answers:
            made = self.next_answers.pop(0)
            return made(request) if callable(made) else made
        if unknown := set(request.fields) - KNOWN[self.dialect]:
            return answer({"error": f"Argument not supported: {min(unknown)}"}, 400)
        if request.fields.get("stream"):
            return self.stream(int(request.fields["partial_images"]))
        if request.path.endswith("inpainting"):
            return answer({"data": [{"url": f"{self.url}/made.png"}]})
        return answer({"created": 1, "data": [{"b64_json": bare(picture()), "respect_moderation": True}]})

    def stream(self, count: int) -> Answer:
        events = [
            {"type": "image_generation.partial_image", "partial_image_index": i, "b64_json": bare(picture(shade=i))}
            for i in range(count)
        ]
        events.append({"type": "image_generation.completed", "b64_json": bare(picture())})
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        return 200, {"content-type": "text/event-stream"}, "".join([*lines, "data: [DONE]\n\n"]).encode()


def read_fields(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a JSON or multipart body."""
    if not content_type.startswith("multipart/form-data"):
        return json.loads(body) if body else {}
    fields: dict[str, Any] = {}
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    for part in message.get_payload():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        value = content if part.get_filename() else content.decode()
        fields[name] = [*fields[name], value] if isinstance(fields.get(name), list) else value
    return fields


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """Run a service on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fields = read_fields(self.headers.get("content-type", ""), body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            made = service.respond(Request(path=self.path, headers=headers, fields=fields))
            if made is None:
                self.close_connection = True
                return
            status, headers, content = made
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            """Tests stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        if service.slow:
            service.slow.set()
        server.shutdown()
        server.server_close()
        thread.join()
