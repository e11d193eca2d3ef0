"""Parts that several requests and answers share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, computed_field, model_validator

MONTH_S = 2_592_000
Aspect = Annotated[str, Field(pattern=r"^(auto|\d{1,5}(\.\d{1,3})?:\d{1,5}(\.\d{1,3})?)$")]
Size = Annotated[str, Field(pattern=r"^(auto|\d{1,5}(\.\d{1,3})?:\d{1,5}(\.\d{1,3})?|\d{1,5}x\d{1,5})$")]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _storable(text: str) -> str:
    """Text that a database and a file's settings can hold."""
    if "\0" in text:
        raise ValueError("the text has a character that cannot be stored")
    return text


def _printable(text: str) -> str:
    """A name that can be shown on one line."""
    if not text.isprintable():
        raise ValueError("the name has characters that cannot be shown")
    return text


Words = Annotated[str, Field(max_length=32_000), AfterValidator(_storable)]
Prompt = Annotated[str, Field(min_length=1, max_length=32_000), AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
ModelName = Annotated[str, Field(max_length=200)]


class Body(BaseModel):
    """A request; fields that are not known are left alone, because clients send some of their own."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=False, protected_namespaces=())


class Reference(Body):
    """A picture or a clip: a data URI or an http(s) address as `url`, or the id of an uploaded file."""

    url: str | None = None
    image_url: str | None = None
    file_id: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Reference:
        if len([each for each in (self.url, self.image_url, self.file_id) if each]) != 1:
            raise ValueError("give either url or file_id")
        return self

    @property
    def place(self) -> str:
        """Where it is."""
        return self.url or self.image_url or self.file_id or ""


class PublicAddress(Body):
    """How long an address is good, in seconds; null for the usual time."""

    expires_after: int | None = Field(default=None, ge=3600, le=MONTH_S)


class StorageOptions(Body):
    """How an output is kept among the caller's files."""

    filename: Name
    expires_after: int | None = Field(default=None, ge=1, le=MONTH_S)
    public_url: bool | PublicAddress = False


class FileOutput(BaseModel):
    """A kept output."""

    file_id: str
    filename: str
    expires_at: int | None = None
    public_url: str | None = None
    public_url_expires_at: int | None = None
    public_url_error: str | None = None


class TokenDetails(BaseModel):
    """Tokens by what they stand for."""

    text_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Usage(BaseModel):
    """What a request cost ($1 = 10^10 ticks) and its size: a word or sign is a token, a 16 x 16 px cell of a picture is one."""

    cost_in_usd_ticks: int
    input_tokens: int = 0
    input_tokens_details: TokenDetails = TokenDetails()
    output_tokens: int = 0
    output_tokens_details: TokenDetails = TokenDetails()
    total_tokens: int = 0


class OpenAIError(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIErrorBody(BaseModel):
    """OpenAI's error body."""

    error: OpenAIError


class XAIErrorBody(BaseModel):
    """xAI's error body."""

    code: str
    error: str
    usage: dict[str, int] | None = None


class Listing(BaseModel):
    """A page of a list of things that have an `id`; `last_id`, sent as `after`, leads to the next."""

    object: Literal["list"] = "list"
    data: list[Any]
    has_more: bool

    @computed_field
    @property
    def first_id(self) -> str | None:
        """Null where the page is empty."""
        return self.data[0].id if self.data else None

    @computed_field
    @property
    def last_id(self) -> str | None:
        """Null where the page is empty."""
        return self.data[-1].id if self.data else None


ErrorBody = OpenAIErrorBody | XAIErrorBody
Order = Literal["asc", "desc"]
