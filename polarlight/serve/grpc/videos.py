"""Clips: ordered, and asked after until they are done."""

from __future__ import annotations

from typing import Any

import grpc
from xai_sdk.proto import deferred_pb2, usage_pb2, video_pb2, video_pb2_grpc

from polarlight.infer.engine import UnsupportedTask

from ..bodies import checked
from ..schemas.videos import VideoEdit, VideoExtension, VideoGeneration, VideoStatus
from ..service import Service
from ..video_answers import find_video, video_status
from ..video_orders import submit_video
from ..video_requests import changing_order, generating_order
from .authentication import CALLER
from .messages import file_output, optional, reference, storage, word

# in the order of the enums' numbers
ASPECT_RATIOS = ("", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
RESOLUTIONS = ("", "480p", "720p", "1080p")
STATUSES = {
    "done": deferred_pb2.DeferredStatus.DONE,
    "expired": deferred_pb2.DeferredStatus.EXPIRED,
    "pending": deferred_pb2.DeferredStatus.PENDING,
    "failed": deferred_pb2.DeferredStatus.FAILED,
}
PICTURES = ("image", "last_frame")
NOT_IN_EDITS = ("image", "last_frame", "keyframes", "reference_images", "duration", "aspect_ratio", "resolution")


class Videos(video_pb2_grpc.VideoServicer):
    """Clips, answered with the id of their request."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def GenerateVideo(
        self, request: video_pb2.GenerateVideoRequest, context: grpc.aio.ServicerContext
    ) -> deferred_pb2.StartDeferredResponse:
        """Order a clip; with a clip in the request, an edit of it."""
        if request.HasField("video"):
            return await self._change(checked(VideoEdit, edit_body(request), "openai"))
        asked = checked(VideoGeneration, generation_body(request), "openai")  # its sentences do not speak of JSON
        job = await submit_video(self.service, *await generating_order(self.service, CALLER.get(), asked))
        return deferred_pb2.StartDeferredResponse(request_id=job.id)

    async def ExtendVideo(
        self, request: video_pb2.ExtendVideoRequest, context: grpc.aio.ServicerContext
    ) -> deferred_pb2.StartDeferredResponse:
        """Order a longer version of a clip."""
        body = {
            "prompt": request.prompt, "model": request.model or None, "video": reference(request.video),
            **optional(request, "duration"), **storage(request),
        }  # fmt: skip
        return await self._change(checked(VideoExtension, body, "openai"))

    async def GetDeferredVideo(
        self, request: video_pb2.GetDeferredVideoRequest, context: grpc.aio.ServicerContext
    ) -> video_pb2.GetDeferredVideoResponse:
        """How far a clip is."""
        caller = CALLER.get()
        await self.service.admit(caller, "videos", counted=False)
        job = await find_video(self.service, caller.key.id, request.request_id)
        status = await video_status(self.service, job)
        return video_pb2.GetDeferredVideoResponse(status=STATUSES[status.status], response=video_message(status))

    async def _change(self, asked: VideoEdit | VideoExtension) -> deferred_pb2.StartDeferredResponse:
        """Submit an edit or an extension."""
        admission, order = await changing_order(self.service, CALLER.get(), asked, asked.video)
        return deferred_pb2.StartDeferredResponse(request_id=(await submit_video(self.service, admission, order)).id)


def generation_body(request: video_pb2.GenerateVideoRequest) -> dict[str, Any]:
    """The body that a request without a clip would have in REST.

    Raises:
        UserError: an enum has a number that is not known here.
    """
    return {
        "prompt": request.prompt, "model": request.model or None,
        "aspect_ratio": word(request, "aspect_ratio", ASPECT_RATIOS),
        "resolution": word(request, "resolution", RESOLUTIONS),
        "reference_images": [reference(each) for each in request.reference_images],
        "keyframes": [
            {"image": reference(each.image), "timestamp_s": each.timestamp_s} for each in request.keyframes
        ],
        "reference_audios": [{"voice_id": each.voice_id} for each in request.reference_audios],
        **{name: reference(getattr(request, name)) for name in PICTURES if request.HasField(name)},
        **optional(request, "duration", "generate_audio"), **storage(request),
    }  # fmt: skip


def edit_body(request: video_pb2.GenerateVideoRequest) -> dict[str, Any]:
    """The body that a request with a clip would have in REST.

    Raises:
        UnsupportedTask: it asks for what an edit keeps.
    """
    given = {field.name for field, _ in request.ListFields()}
    if wrong := [name for name in NOT_IN_EDITS if name in given]:
        sentence = f"An edit of a clip keeps its length and shape and takes no pictures, so {wrong[0]} means nothing."
        raise UnsupportedTask(sentence, fix=f"Leave {wrong[0]} out.")
    return {
        "prompt": request.prompt, "model": request.model or None, "video": reference(request.video),
        "reference_audios": [{"voice_id": each.voice_id} for each in request.reference_audios],
        **optional(request, "generate_audio"), **storage(request),
    }  # fmt: skip


def video_message(status: VideoStatus) -> video_pb2.VideoResponse:
    """REST's status as a message."""
    message = video_pb2.VideoResponse(
        model=status.model or "", progress=status.progress or 0, usage=usage_pb2.SamplingUsage(**(status.usage or {}))
    )
    if status.error is not None:
        message.error.CopyFrom(video_pb2.VideoError(code=status.error.code, message=status.error.message))
    if (clip := status.video) is not None:
        message.video.CopyFrom(
            video_pb2.GeneratedVideo(
                url=clip.url, duration=clip.duration, respect_moderation=clip.respect_moderation,
                file_output=file_output(clip.file_output),
            )
        )  # fmt: skip
    return message
