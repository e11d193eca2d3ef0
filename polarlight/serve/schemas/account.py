"""What a key is told of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ApiKeyBody(BaseModel):
    """A key. Times are in ISO 8601; a key is its own team."""

    redacted_api_key: str
    user_id: str
    name: str
    create_time: str
    modify_time: str
    modified_by: str
    team_id: str
    acls: list[str]
    api_key_id: str
    team_blocked: bool
    api_key_blocked: bool
    api_key_disabled: bool


class Me(BaseModel):
    """The key's owner, and what is left: `balance_ticks` and what was spent this month ($1 = 10^10 ticks)."""

    user_id: str
    team_id: str
    zdr_status: Literal["no_zdr", "zdr"] = "no_zdr"
    team_blocked: bool
    api_key: ApiKeyBody
    prepaid: bool
    balance_ticks: int
    spent_ticks: int
    monthly_limit_ticks: int | None


class DataSharing(BaseModel):
    """Whether the key shares its pictures for training: since when (seconds since 1970), and what it is given for it each month."""

    shares: bool
    since: int | None
    monthly_grant_ticks: int


class DataSharingChange(BaseModel):
    """Agree, or take it back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    shares: bool
