"""Who is calling: the key in the call's metadata; and the service that tells a key about itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar

import grpc
from google.protobuf.empty_pb2 import Empty
from xai_sdk.proto import auth_pb2, auth_pb2_grpc

from ..accounts import Key
from ..authentication import LONGEST_IDEMPOTENCY_KEY, shown
from ..errors import Problem
from ..service import Caller, Service
from .messages import stamp

CALLER: ContextVar[Caller] = ContextVar("caller")  # of the call under way; the envelope sets it


async def caller_of(service: Service, metadata: Mapping[str, str | bytes], request_id: str) -> Caller:
    """The caller of a call, by its metadata `authorization: Bearer KEY`; `idempotency-key` is read as in REST.

    `subject-consent: true` states what REST's field subject_consent does, for which the protocol has no place.

    Raises:
        Problem: 401 without a key or with a wrong one, 400 for an idempotency key that is too long.
    """
    scheme, _, secret = str(metadata.get("authorization", "")).partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise Problem(401, "No credentials presented. Send the metadata authorization: Bearer YOUR_KEY.")
    key = await asyncio.to_thread(service.state.keys.authenticate, secret)
    if key is None:
        raise Problem(401, f"Incorrect API key provided: {shown(secret)}.")
    idempotency_key = str(metadata.get("idempotency-key", "")) or None
    if idempotency_key is not None and len(idempotency_key) > LONGEST_IDEMPOTENCY_KEY:
        raise Problem(400, f"The idempotency key is longer than {LONGEST_IDEMPOTENCY_KEY} characters.")
    consent = str(metadata.get("subject-consent", "")) == "true"
    return Caller(
        key=key, door="grpc", request_id=request_id, idempotency_key=idempotency_key, subject_consent=consent
    )  # fmt: skip


class Auth(auth_pb2_grpc.AuthServicer):
    """What a key is told of itself."""

    async def get_api_key_info(self, request: Empty, context: grpc.aio.ServicerContext) -> auth_pb2.ApiKey:
        """The calling key; a blocked one is told so."""
        return key_message(CALLER.get().key)


def key_message(key: Key) -> auth_pb2.ApiKey:
    """A key as xAI shows it; a key is its own team."""
    return auth_pb2.ApiKey(
        redacted_api_key=key.redacted, user_id=key.id, name=key.name, create_time=stamp(key.created_at),
        modify_time=stamp(key.modified_at), modified_by=key.modified_by, team_id=key.id, acls=key.acls,
        api_key_id=key.id, api_key_blocked=key.blocked, team_blocked=key.blocked,
        disabled=key.revoked_at is not None,
    )  # fmt: skip
