"""The studio's doors: its page at /, its files, and what it reads and writes about tiles, folders and itself."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from polarlight.base.errors import UserError
from polarlight.media.pictures import decode_picture, encode_picture, settings_inside, upright_pixels
from polarlight.media.provenance import media_type

from .errors import Problem
from .gallery import Filter, Gallery, NewTile, as_json
from .service import Service
from .stored_files import NewFile
from .studio_making import Conversation
from .studio_orders import varies_by
from .studio_restore import NoSettings, settings_of
from .studio_sessions import COOKIE, CSRF_HEADER, LASTS_S, Session, Sessions, at_the_machine, csrf_of, same_origin

PAGE = Path(__file__).parent / "studio"
STATE_BYTES = 64_000  # the page's own state
DOWNLOAD = 500  # tiles in one archive
CACHE = {"cache-control": "private, max-age=31536000, immutable"}  # a tile's bytes never change
POLICY = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
router = APIRouter(include_in_schema=False)
Ids = Annotated[list[str], Field(min_length=1, max_length=DOWNLOAD)]


class SignIn(BaseModel):
    """A key to sign in with; empty at the machine itself."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(default="", max_length=500)


class Change(BaseModel):
    """What to change about tiles; a field that is left out stays."""

    model_config = ConfigDict(extra="forbid")
    ids: Ids
    favourite: bool | None = None
    folder_id: str | None = None


class Chosen(BaseModel):
    """Some tiles."""

    model_config = ConfigDict(extra="forbid")
    ids: Ids


class FolderName(BaseModel):
    """A new folder's name."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=200)


class Studio:
    """One request's view of the service: who asks, and the gallery."""

    def __init__(self, service: Service, session: Session) -> None:
        state = service.state
        self.service, self.session, self.key_id = service, session, session.key.id
        self.gallery = Gallery(state.database, state.files, state.files.clock)

    def content(self, tile_id: str) -> tuple[bytes, str]:
        """A tile's bytes and their type."""
        state, tile = self.service.state, self.gallery.get(self.key_id, tile_id)
        return state.objects.get(state.files.get(tile.file_id).object_key), tile.content_type


def sessions_of(service: Service) -> Sessions:
    """The sessions beside a service's keys."""
    return Sessions(service.state.database, service.state.keys, service.state.files.clock)


async def signed_in(request: Request) -> Studio:
    """Who asks; a write has to show its token too.

    Raises:
        Problem: nobody is signed in (401), or the token is missing (403).
    """
    service: Service = request.app.state.service
    session = await asyncio.to_thread(sessions_of(service).find, request.cookies.get(COOKIE, ""))
    if session is None:
        raise Problem(401, "You are signed out. Sign in again.")
    request.state.key_id = session.key.id
    if request.method not in ("GET", "HEAD") and request.headers.get(CSRF_HEADER) != session.csrf:
        raise Problem(403, "This page is out of date. Reload it.")
    return Studio(service, session)


Signed = Annotated[Studio, Depends(signed_in)]


@router.get("/")
def page() -> FileResponse:
    """The page itself."""
    return FileResponse(PAGE / "index.html", headers=POLICY)


@router.get("/studio/{name}")
def asset(name: str) -> Response:
    """One of the page's own files."""
    known = {path.name: path for path in PAGE.iterdir() if path.suffix in (".js", ".css", ".svg")}
    if name not in known:
        return JSONResponse({"error": f"There is no file {name[:80]!r}."}, 404)
    return FileResponse(known[name], headers=POLICY)


@router.get("/studio/api/session")
async def session(request: Request) -> Response:
    """Who is signed in, what the models can do, and how the page looked last; at the machine itself the owner is signed in."""
    service: Service = request.app.state.service
    sessions, token = sessions_of(service), request.cookies.get(COOKIE, "")
    found = await asyncio.to_thread(sessions.find, token)
    local = at_the_machine(request.client and request.client.host, request.headers, service.state.settings.public_url)
    if found is None and local and same_origin(request.headers):
        owner = await asyncio.to_thread(sessions.owner)
        if owner is not None:
            token = await asyncio.to_thread(sessions.begin, owner)
            found = Session(key=owner, csrf=csrf_of(token))
    if found is None:
        return JSONResponse({"signed_in": False})
    return _with_cookie(request, token, await asyncio.to_thread(_greeting, Studio(service, found)))


@router.post("/studio/api/session")
async def sign_in(request: Request, given: SignIn) -> Response:
    """Sign in with a key."""
    service: Service = request.app.state.service
    if not same_origin(request.headers):
        raise Problem(403, "Sign in from the studio's own page.")
    sessions = sessions_of(service)
    key = await asyncio.to_thread(sessions.key_of, given.key)
    token = await asyncio.to_thread(sessions.begin, key)
    studio = Studio(service, Session(key=key, csrf=csrf_of(token)))
    return _with_cookie(request, token, await asyncio.to_thread(_greeting, studio))


@router.delete("/studio/api/session")
async def sign_out(request: Request, studio: Signed) -> Response:
    """Sign out on this device."""
    await asyncio.to_thread(sessions_of(studio.service).end, request.cookies[COOKIE])
    answer = JSONResponse({"signed_in": False})
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.put("/studio/api/state")
async def save_state(request: Request, studio: Signed) -> dict[str, Any]:
    """Keep how the page looks."""
    body = await request.body()
    if len(body) > STATE_BYTES:
        raise Problem(413, "The page's state is too large to keep.")
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Problem(400, "The page's state is not a JSON object.")
    await asyncio.to_thread(studio.gallery.save_page_state, studio.key_id, value)
    return {"saved": True}


@router.get("/studio/api/tiles")
def tiles(
    studio: Signed,
    text: Annotated[str, Query(max_length=500)] = "",
    folder: str | None = None,
    favourites: bool = False,
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> dict[str, Any]:
    """A page of the history, newest first, and how many there are in all."""
    wanted = Filter(text=text, folder_id=folder, favourites=favourites)
    found = studio.gallery.page(studio.key_id, wanted, before=before, limit=limit)
    return {"tiles": as_json(found), "count": studio.gallery.count(studio.key_id, wanted)}


@router.patch("/studio/api/tiles")
def change_tiles(studio: Signed, change: Change) -> dict[str, Any]:
    """Favourite tiles, or move them to a folder (null: out of any)."""
    changes = change.model_dump(exclude={"ids"}, include=change.model_fields_set - {"ids"})
    return {"tiles": as_json(studio.gallery.change(studio.key_id, change.ids, **changes)) if changes else []}


@router.post("/studio/api/tiles/remove")
def remove_tiles(studio: Signed, chosen: Chosen) -> dict[str, Any]:
    """Take tiles out; the page offers to undo it."""
    return {"ids": studio.gallery.remove(studio.key_id, chosen.ids)}


@router.post("/studio/api/tiles/bring-back")
def bring_back_tiles(studio: Signed, chosen: Chosen) -> dict[str, Any]:
    """Undo a removal."""
    return {"tiles": as_json(studio.gallery.bring_back(studio.key_id, chosen.ids))}


@router.post("/studio/api/tiles/{tile_id}/less")
def less_like(studio: Signed, tile_id: str) -> dict[str, Any]:
    """Take a tile out with what was made from it, and never draw its seed for its prompt again."""
    return {"ids": studio.gallery.less_like(studio.key_id, tile_id)}


@router.get("/studio/api/tiles/{tile_id}")
def tile(studio: Signed, tile_id: str) -> dict[str, Any]:
    """One tile."""
    return as_json([studio.gallery.get(studio.key_id, tile_id)])[0]


@router.get("/studio/api/tiles/{tile_id}/lineage")
def lineage(studio: Signed, tile_id: str) -> dict[str, Any]:
    """Everything that comes from the tile's first ancestor."""
    return {"tiles": as_json(studio.gallery.lineage(studio.key_id, tile_id))}


@router.get("/studio/api/tiles/{tile_id}/plan")
def plan(tile_id: str, studio: Signed) -> dict[str, str]:
    """What stands where in a picture, as `text.plan` reads it; empty where its file does not say."""
    content, kind = studio.content(tile_id)
    if not kind.startswith("image/"):
        raise Problem(400, "Only pictures have a plan.")
    return {"plan": str(settings_inside(decode_picture(content, "The tile"), "the tile").get("plan") or "")}


@router.get("/studio/api/tiles/{tile_id}/content")
def content(studio: Signed, tile_id: str, side: Annotated[int | None, Query(ge=32, le=2048)] = None) -> Response:
    """A tile's file; with `side`, a picture no larger than that, where the file is larger."""
    found, kind = studio.content(tile_id)
    if side is not None and kind.startswith("image/"):
        found, kind = smaller(found, kind, side)
    return Response(found, media_type=kind, headers=CACHE)


@router.post("/studio/api/download")
def download(studio: Signed, chosen: Chosen) -> Response:
    """Tiles as one archive, each with its settings inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for tile_id in chosen.ids:
            found = studio.gallery.get(studio.key_id, tile_id)
            file = studio.service.state.files.get(found.file_id)
            stem, _, suffix = file.filename.rpartition(".")
            archive.writestr(f"{stem}-{found.number}.{suffix}", studio.service.state.objects.get(file.object_key))
    named = {"content-disposition": 'attachment; filename="polarlight.zip"'}
    return Response(buffer.getvalue(), media_type="application/zip", headers=named)


@router.post("/studio/api/pictures")
async def bring_in(request: Request, studio: Signed, name: str = "picture") -> dict[str, Any]:
    """Keep a picture that was dropped or pasted, as a tile to start from."""
    found = await request.body()
    return await asyncio.to_thread(_bring_in, studio, found, name[:200])


@router.post("/studio/api/restore")
async def restore(request: Request, studio: Signed, name: str = "The file") -> dict[str, Any]:
    """The settings inside a dropped file, or why there are none; nothing is kept."""
    try:
        return (await asyncio.to_thread(settings_of, await request.body(), name[:200])).as_json()
    except NoSettings as nothing:
        return {"program": None, "message": str(nothing)}


@router.get("/studio/api/folders")
def folders(studio: Signed) -> dict[str, Any]:
    """The folders."""
    return {"folders": [vars(folder) for folder in studio.gallery.folders(studio.key_id)]}


@router.post("/studio/api/folders")
def make_folder(studio: Signed, folder: FolderName) -> dict[str, Any]:
    """A new folder."""
    return vars(studio.gallery.make_folder(studio.key_id, folder.name))


@router.delete("/studio/api/folders/{folder_id}")
def delete_folder(studio: Signed, folder_id: str) -> dict[str, Any]:
    """Delete a folder; its tiles stay."""
    studio.gallery.delete_folder(studio.key_id, folder_id)
    return {"deleted": True}


@router.websocket("/studio/api/making")
async def making(socket: WebSocket) -> None:
    """Everything that is made, for one page; see `studio_making`. The first message shows the token."""
    service: Service = socket.app.state.service
    session = await asyncio.to_thread(sessions_of(service).find, socket.cookies.get(COOKIE, ""))
    if session is None or not same_origin(socket.headers):
        await socket.close(code=4401)
        return
    await socket.accept()
    studio = Studio(service, session)

    async def send(message: dict[str, Any]) -> None:
        with suppress(
            WebSocketDisconnect, RuntimeError
        ):  # the page is gone: the next `receive` hears of it and ends all
            await socket.send_json(message)

    talk = Conversation(service, studio.gallery, session.key, send)
    try:
        if (await socket.receive_json()) != {"type": "hello", "csrf": session.csrf}:
            await socket.close(code=4403)
            return
        while True:
            try:
                await talk.hear(await socket.receive_json())
            except UserError as error:
                await socket.send_json({"type": "refused", "message": str(error)})
    except (WebSocketDisconnect, ValueError, KeyError):
        pass  # the page is gone, or is none of ours
    finally:
        await talk.close()


def smaller(content: bytes, kind: str, side: int) -> tuple[bytes, str]:
    """A picture that fits into a square of `side` pixels, and its type; one that does already stays as it is."""
    with Image.open(io.BytesIO(content)) as picture:
        if max(picture.size) <= side:
            return content, kind
    shrunk = decode_picture(content, "The tile").convert("RGB")
    shrunk.thumbnail((side, side))
    return encode_picture(upright_pixels(shrunk), {}, ".webp"), "image/webp"


def _bring_in(studio: Studio, content: bytes, name: str) -> dict[str, Any]:
    state = studio.service.state
    pixels = upright_pixels(decode_picture(content, name))
    kind = media_type(content)
    try:
        known = settings_of(content, name)
        words = {"prompt": known.prompt, "negative_prompt": known.negative_prompt, "seed": known.seed}
    except UserError:
        words = {}  # a picture from anywhere
    file = NewFile(
        filename=name if name.isprintable() else "picture", content=content, content_type=kind, purpose="stored"
    )
    stored = state.files.add(studio.key_id, file, most=state.settings.limits.file_bytes)
    tile = NewTile(
        file_id=stored.id, kind="upload", content_type=kind, height=pixels.shape[0], width=pixels.shape[1], **words
    )
    return as_json([studio.gallery.add(studio.key_id, tile)])[0]


def _greeting(studio: Studio) -> dict[str, Any]:
    """All that the page needs to begin."""
    models = []
    for engine in studio.service.engines:
        info, endpoint = engine.info, f"{engine.info.modality}s"
        if studio.session.key.may(endpoint, info.name):
            models.append(
                {
                    "name": info.name, "modality": info.modality, "tasks": info.tasks, "modes": info.modes,
                    "aspects": list(next(reversed(info.sizes.values()))), "masks": info.masks,
                    "plans": info.plans, "negative_prompt": info.negative_prompt, "max_prompt": info.max_prompt,
                    "max_inputs": info.max_inputs, "varies_by": varies_by(info),
                }
            )  # fmt: skip
    return {
        "signed_in": True, "csrf": studio.session.csrf, "key": studio.session.key.redacted, "models": models,
        "address": studio.service.state.settings.public_url, "state": studio.gallery.page_state(studio.key_id),
        "folders": [vars(folder) for folder in studio.gallery.folders(studio.key_id)],
    }  # fmt: skip


def _with_cookie(request: Request, token: str, body: dict[str, Any]) -> Response:
    answer = JSONResponse(body, headers={"cache-control": "no-store"})
    answer.set_cookie(
        COOKIE, token, max_age=int(LASTS_S), path="/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer
