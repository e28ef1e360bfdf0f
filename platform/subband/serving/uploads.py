"""The images of a request: its whole body, or the files of a form, never more bytes than allowed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from subband.errors import ParamsError, SubbandError


class BodyTooLargeError(SubbandError, ValueError):
    """The body of a request has more bytes than are allowed."""


@dataclass(frozen=True)
class Upload:
    """One encoded image.

    Attributes:
        file: its file name in the form, None for a plain body.
        data: its bytes.
    """

    file: str | None
    data: bytes

    @property
    def what(self) -> str:
        """How messages call it."""
        return "the request body" if self.file is None else f"file {self.file!r}"


async def read_uploads(request: Request, max_bytes: int, max_files: int) -> list[Upload]:
    """The images of a request: one with file None for a plain body, at least one for ``multipart/form-data``.

    Args:
        request: its body must not have been read.
        max_bytes: largest body.
        max_files: most files of a form.

    Raises:
        BodyTooLargeError: the body is larger.
        ParamsError: a malformed form, one without files or with too many, or with fields that are not files.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise _too_large(max_bytes)
    body = _limited(request, max_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return [Upload(None, b"".join([chunk async for chunk in body]))]
    try:
        form = await MultiPartParser(request.headers, body, max_files=max_files, max_fields=max_files).parse()
    except (MultiPartException, KeyError) as error:
        reason = getattr(error, "message", "its boundary is missing")
        raise ParamsError(f"the form cannot be read: {reason}") from error
    try:
        uploads = []
        for field, value in form.multi_items():
            if not isinstance(value, UploadFile):
                raise ParamsError(
                    f"the form's field {field!r} is not a file; options go into the address, for instance ?threshold=1.5"
                )
            uploads.append(Upload(value.filename or field, await value.read()))
    finally:
        await form.close()
    if not uploads:
        raise ParamsError("the form holds no file; send one or several, for instance: curl -F file=@image.png")
    return uploads


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; a body sent in chunks states no length beforehand."""
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the request body is larger than the limit of {limit / 1e6:g} MB; send fewer or smaller images, "
        "or start the server with a higher max_body_mb"
    )
