"""Several addresses of one service: who is well, and who has the least to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import httpx

REST_S = 10.0  # how long a replica that cannot be reached is left alone
HEALTH_S = 5.0  # the longest wait for an answer about health


@dataclass(kw_only=True, eq=False)
class Replica:
    """One address, ending in a slash. doubtful: it failed, and is asked for its health before it is used again, which is not
    before the monotonic time `rests_until`."""

    url: httpx.URL
    busy: int = 0
    rests_until: float = 0.0
    doubtful: bool = False

    def rest(self) -> None:
        """Leave it alone for a while."""
        self.doubtful, self.rests_until = True, time.monotonic() + REST_S

    def recover(self) -> None:
        """It is well again."""
        self.doubtful, self.rests_until = False, 0.0


class Replicas:
    """The replicas of one service. health: where they answer for it, from the root where it starts with "/"."""

    def __init__(self, urls: Sequence[httpx.URL], health: str) -> None:
        self.all, self._health = [Replica(url=url) for url in urls], health

    def __len__(self) -> int:
        return len(self.all)

    async def check(self, client: httpx.AsyncClient, headers: Mapping[str, str]) -> dict[str, bool]:
        """Ask every replica whether it is well; address -> answer. Those that are not rest."""
        well = await asyncio.gather(*(self._well(replica, client, headers) for replica in self.all))
        return {str(replica.url): good for replica, good in zip(self.all, well, strict=True)}

    async def least_busy(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], tried: Collection[Replica]
    ) -> Replica:
        """The one with the least to do among those that are well and not yet tried; else the one that rests shortest."""
        now = time.monotonic()
        for replica in self.all:
            if replica.doubtful and replica.rests_until <= now:
                await self._well(replica, client, headers)
        left = [replica for replica in self.all if replica not in tried] or self.all
        awake = [replica for replica in left if replica.rests_until <= now]
        return min(awake, key=lambda each: each.busy) if awake else min(left, key=lambda each: each.rests_until)

    async def _well(self, replica: Replica, client: httpx.AsyncClient, headers: Mapping[str, str]) -> bool:
        try:
            good = (await client.get(replica.url.join(self._health), headers=headers, timeout=HEALTH_S)).is_success
        except httpx.HTTPError:
            good = False
        replica.recover() if good else replica.rest()
        return good
