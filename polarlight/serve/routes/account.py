"""The key that asks: what it is, what it may do, what it has left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from ..accounts import Key
from ..authentication import caller_of, service_of
from ..bodies import checked, read_json
from ..dialects import known_dialect
from ..documentation import answers, body_of
from ..schemas.account import ApiKeyBody, DataSharing, DataSharingChange, Me
from ..service import Caller
from ..sharing import sharing_of

router = APIRouter(tags=["account"])
Asking = Annotated[Caller, Depends(caller_of)]


@router.get("/v1/api-key", responses=answers())
async def api_key(caller: Asking) -> ApiKeyBody:
    """The key itself; a blocked one is told so."""
    return key_body(caller.key)


@router.get("/v1/me", responses=answers())
async def me(request: Request, caller: Asking) -> Me:
    """The key's owner and balance."""
    key, ledger = caller.key, service_of(request).state.ledger
    balance, spent = await asyncio.to_thread(lambda: (ledger.balance(key.id), ledger.spent(key.id)))
    return Me(
        user_id=key.id, team_id=key.id, team_blocked=key.blocked, api_key=key_body(key), prepaid=key.prepaid,
        balance_ticks=balance, spent_ticks=spent, monthly_limit_ticks=key.monthly_limit_ticks,
    )  # fmt: skip


@router.get("/v1/data-sharing", responses=answers())
async def data_sharing(request: Request, caller: Asking) -> DataSharing:
    """Whether the key shares its pictures for training. No key does before it says so."""
    return DataSharing(**vars(await asyncio.to_thread(sharing_of, service_of(request).state, caller.key.id)))


@router.post("/v1/data-sharing", responses=answers(), openapi_extra=body_of(DataSharingChange))
async def share_data(request: Request, caller: Asking) -> DataSharing:
    """Share what the key makes from words from now on, or take that back; then nothing of it is exported any more.

    Neither OpenAI nor xAI has this. Agreeing brings the month's grant where the operator gives one.
    """
    service = service_of(request)
    asked = checked(DataSharingChange, await read_json(request, service), known_dialect(request))
    if asked.shares:  # whoever is blocked may still take it back
        await service.admit(caller, "data-sharing", counted=False)
    await asyncio.to_thread(service.state.keys.share_data, caller.key.id, asked.shares)
    return await data_sharing(request, caller)


def key_body(key: Key) -> ApiKeyBody:
    """A key as xAI shows it."""
    return ApiKeyBody(
        redacted_api_key=key.redacted, user_id=key.id, name=key.name, create_time=iso(key.created_at),
        modify_time=iso(key.modified_at), modified_by=key.modified_by, team_id=key.id, acls=list(key.acls),
        api_key_id=key.id, team_blocked=key.blocked, api_key_blocked=key.blocked,
        api_key_disabled=key.revoked_at is not None,
    )  # fmt: skip


def iso(seconds: float) -> str:
    """A time (UTC) as 2026-11-22T12:00:00Z."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
