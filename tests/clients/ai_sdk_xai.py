"""@ai-sdk/xai in a process of Node, spoken to in lines of JSON (node/ai-sdk-xai.mjs)."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "node"
IMAGES, VIDEOS = "grok-imagine-image", "grok-imagine-video"
SOON = {"pollIntervalMs": 50, "pollTimeoutMs": 60_000}


class Node:
    """The client in a process of its own, for one call after the other."""

    def __init__(self) -> None:
        program = shutil.which("node")
        if program is None or not (FOLDER / "node_modules" / "@ai-sdk" / "xai").is_dir():
            pytest.skip("Node.js or the packages of tests/clients/node are missing (Debian: apt install nodejs npm)")
        self.process = subprocess.Popen(
            [program, "ai-sdk-xai.mjs"], cwd=FOLDER, encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, asked: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        """The next thing it says: `{exchange}`, `{made}` or `{error}`."""
        line = self.process.stdout.readline()
        assert line, "Node ended, and its last words are on stderr"
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(20) == 0


@dataclass(frozen=True, kw_only=True)
class Client:
    """The client with a key, pointed at a service."""

    node: Node
    address: str
    key: str

    def start(self, task: str, model: str, call: dict[str, Any], **more: Any) -> None:
        asked = {"address": self.address, "key": self.key, "task": task, "model": model, "call": call, **more}
        self.node.ask(asked)

    def end(self) -> dict[str, Any]:
        """What the client `made` or the `error` it threw, and its `exchanges`, such as `GET /v1/videos/ID 202`."""
        exchanges = []
        while "exchange" in (told := self.node.line()):
            exchanges.append(told["exchange"])
        return {**told, "exchanges": exchanges}

    def call(self, task: str, model: str, call: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.start(task, model, call, **more)
        return self.end()

    def draw(self, call: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.call("images", IMAGES, call, **more)["made"]

    def film(self, call: dict[str, Any], **options: Any) -> dict[str, Any]:
        return self.call("videos", VIDEOS, {**call, "providerOptions": {"xai": {**SOON, **options}}})
