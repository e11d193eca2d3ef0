"""Requests for clips and their answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, model_validator

from .shared import Aspect, Body, FileOutput, Listing, ModelName, Prompt, Reference, Seed, Size, StorageOptions, Words

Seconds = Annotated[int, Field(ge=1, le=15)]
AddedSeconds = Annotated[int, Field(ge=2, le=10)]


class Output(Body):
    """Where the clip shall be put: not done here, and refused with a sentence."""

    upload_url: str | None = None


class VideoSettings(Body):
    """What every request for a clip may say. `user` and `generate_audio` change nothing here."""

    prompt: Words = ""
    model: ModelName | None = None
    seed: Seed | None = None
    negative_prompt: Words | None = None
    user: str | None = None
    generate_audio: bool | None = None
    reference_audios: list[Any] | None = None
    subject_consent: bool = False
    storage_options: StorageOptions | None = None
    output: Output | None = None


class Keyframe(Body):
    """A picture at a time of the clip."""

    image: Reference
    timestamp_s: float = Field(ge=0, le=15)


class VideoGeneration(VideoSettings):
    """`POST /v1/videos/generations` (xAI)."""

    duration: Seconds = Field(default=8, validation_alias=AliasChoices("duration", "seconds"))
    image: Reference | None = Field(default=None, validation_alias=AliasChoices("image", "input_reference"))
    last_frame: Reference | None = None
    keyframes: list[Keyframe] = Field(default=[], max_length=4)
    reference_images: list[Reference] = Field(default=[], max_length=7)
    aspect_ratio: Aspect | None = None
    resolution: str | None = Field(
        default=None, max_length=16, validation_alias=AliasChoices("resolution", "resolution_name")
    )

    @model_validator(mode="after")
    def _something_to_go_by(self) -> VideoGeneration:
        if not self.prompt and self.image is None:
            raise ValueError("give a prompt or an image")
        return self


class VideoCreation(VideoSettings):
    """`POST /v1/videos` (OpenAI), as JSON or as the fields of a form."""

    prompt: Prompt
    seconds: Seconds = 4
    size: Size | None = None
    input_reference: Reference | None = None


class VideoSource(Body):
    """The clip that a request starts from: one made here by its `id`, or as `url` or `file_id`."""

    id: str | None = None
    url: str | None = None
    file_id: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> VideoSource:
        if len([each for each in (self.id, self.url, self.file_id) if each]) != 1:
            raise ValueError("give one of id, url and file_id")
        return self


class VideoEditForm(VideoSettings):
    """`POST /v1/videos/edits` as a form; the clip is its file `video`."""

    prompt: Prompt


class VideoEdit(VideoEditForm):
    """`POST /v1/videos/edits`, of a clip that is somewhere."""

    video: VideoSource


class VideoExtensionForm(VideoSettings):
    """`POST /v1/videos/extensions` as a form; the clip is its file `video`. The length is that of the added part."""

    duration: AddedSeconds = Field(default=6, validation_alias=AliasChoices("duration", "seconds"))


class VideoExtension(VideoExtensionForm):
    """`POST /v1/videos/extensions`, of a clip that is somewhere."""

    video: VideoSource


class Remix(Body):
    """`POST /v1/videos/{id}/remix`."""

    prompt: Prompt


class VideoRequested(BaseModel):
    """xAI's answer to an accepted request."""

    request_id: str


class VideoError(BaseModel):
    """Why there is no clip."""

    code: str
    message: str


class VideoBody(BaseModel):
    """OpenAI's video object."""

    id: str
    object: Literal["video"] = "video"
    created_at: int
    completed_at: int | None
    expires_at: int | None
    model: str
    progress: int
    prompt: str
    remixed_from_video_id: str | None
    seconds: str
    size: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    error: VideoError | None
    seed: int | None = None


class VideoList(Listing):
    """A page of clips."""

    data: list[VideoBody]


class VideoDeleted(BaseModel):
    """A clip that is gone."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class VideoFile(BaseModel):
    """A finished clip at a temporary address; the address is empty where `respect_moderation` is false."""

    url: str
    duration: int
    respect_moderation: bool
    file_output: FileOutput | None = None


class VideoStatus(BaseModel):
    """xAI's answer about a request."""

    status: Literal["pending", "done", "failed", "expired"]
    progress: int | None = None
    model: str | None = None
    video: VideoFile | None = None
    usage: dict[str, int] | None = None
    error: VideoError | None = None
