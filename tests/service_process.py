"""The service as a process of its own, to be killed: HOME PORT SECONDS_A_PICTURE DRAIN_S."""

from __future__ import annotations

import asyncio
import sys

from service_engines import FakeImages

from polarlight.infer.engine import Engines, Ticket
from polarlight.serve.options import Options
from polarlight.serve.server import serve
from polarlight.serve.settings import Limits, Settings


class SlowImages(FakeImages):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def _work(self, ticket: Ticket) -> None:
        await asyncio.sleep(self.seconds)
        await super()._work(ticket)


if __name__ == "__main__":
    home, port, seconds, drain = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    engines = Engines()
    engines.add(SlowImages(seconds))
    settings = Settings.at(home, limits=Limits(lease_s=1.0))
    serve(settings, engines, port=port, options=Options(sign=False, drain_s=drain))
