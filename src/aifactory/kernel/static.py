"""Static files from memory, with their content's hash in the path, so that they can be kept forever."""

import hashlib
import mimetypes
from pathlib import Path

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from aifactory.kernel.errors import NotFound
from aifactory.kernel.principal import PUBLIC

_SERVED = {".css", ".js", ".svg", ".png", ".ico", ".woff2"}


class StaticFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is sent."""

    content: bytes
    media_type: str
    digest: str


class StaticFiles:
    """The static files of some folders; a name in a later folder replaces one in an earlier."""

    def __init__(self, *folders: Path) -> None:
        self._files: dict[str, StaticFile] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix in _SERVED:
                    self._files[path.relative_to(folder).as_posix()] = _read(path)

    def url(self, name: str) -> str:
        """Return the address of a file; KeyError if there is none."""
        return f"/static/{self._files[name].digest}/{name}"

    def find(self, digest: str, name: str) -> StaticFile | None:
        """Return a file if it exists with this content."""
        file = self._files.get(name)
        return file if file is not None and file.digest == digest else None


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(content=content, media_type=media_type, digest=hashlib.sha256(content).hexdigest()[:16])


def static_route(files: StaticFiles) -> HTTPRouteHandler:
    """Return the route that serves the files."""

    @get("/static/{digest:str}/{name:path}", roles=PUBLIC, include_in_schema=False, sync_to_thread=False)
    def get_static_file(digest: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        file = files.find(digest, name.lstrip("/"))
        if file is None:
            raise NotFound("There is no such file.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{file.digest}"'}
        return Response(file.content, media_type=file.media_type, headers=headers)

    return get_static_file
