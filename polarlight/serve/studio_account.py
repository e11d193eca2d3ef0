"""The studio's door to what a key agreed to."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from .schemas.account import DataSharingChange
from .sharing import sharing_of
from .studio_routes import Signed

router = APIRouter(include_in_schema=False)


@router.get("/studio/api/sharing")
async def sharing(studio: Signed) -> dict[str, Any]:
    """Whether the key shares its pictures for training."""
    return vars(await asyncio.to_thread(sharing_of, studio.service.state, studio.key_id))


@router.post("/studio/api/sharing")
async def share(studio: Signed, word: DataSharingChange) -> dict[str, Any]:
    """Share from now on, or no longer."""
    await asyncio.to_thread(studio.service.state.keys.share_data, studio.key_id, word.shares)
    return await sharing(studio)
