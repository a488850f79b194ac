"""Checks and stores the reference images of a submission."""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote
from uuid import UUID

from masstock.errors import FieldError, InvalidImage, ValidationFailed
from masstock.services.storage import ObjectMissing, Uploads, sniff_image
from masstock_api.strict_json import MAX_MISTAKES

# Larger reference images must be uploaded first.
MAX_INLINE_REFERENCE_BYTES = 2 * 1024 * 1024
# Of one prompt. In base64 they have 20 MB, the limit of a request to Gemini with inline data:
# https://ai.google.dev/gemini-api/docs/image-understanding
MAX_REFERENCES_BYTES = 15 * 1024 * 1024
# Each is one request to S3, in the time that the api has for a submission.
MAX_DIFFERENT_REFERENCES = 1000
READS_AT_ONCE = 10
# Base64 has no hyphens, so no key is valid base64.
REFERENCE_KEY = re.compile(r"[0-9a-f-]{36}/references/[0-9a-f-]{36,64}\.(png|jpg|webp)")

DATA_URL = re.compile(r"data:([^,]*),(.*)", re.IGNORECASE | re.DOTALL)
ASCII_SPACES = str.maketrans("", "", " \t\r\n\f")

NO_UPLOAD = "There is no such upload of yours. An upload is kept for 30 days."
NO_IMAGE = "This is not a PNG, JPEG or WebP image of at most 10 MB."
NO_BASE64 = "Send base64 of an image, a data URL, or the key of your upload; this is none of them."
NO_FETCH = "Addresses are not fetched. Send the image as base64, or upload it and send the key."
NO_BASE64_DATA = "A data URL must have its image in base64: data:image/png;base64,…"


class _Refused(ValueError):
    """A reference that is not an image in base64. The message is for the caller."""


@dataclass(frozen=True, slots=True)
class ReferenceList:
    """Reference images of a submission or of one of its prompts. `mistake` makes the mistake of the
    image at a position, or of the whole list."""

    images: Sequence[str]
    mistake: Callable[[int | None, str], FieldError]


@dataclass(frozen=True, slots=True)
class _Found:
    """A valid reference image. Inline images have their content, uploads have an ETag."""

    size: int
    content: bytes | None = None
    etag: str = ""


def store_references(
    lists: Sequence[ReferenceList], client_id: UUID, uploads: Uploads, *, dry_run: bool
) -> list[list[tuple[str, str]]]:
    """(key, ETag) of each image of each list. Stores inline images after all checks; a dry run only
    checks them. An image that several prompts have is read once. Raises ValidationFailed."""
    texts = dict.fromkeys(text for each in lists for text in each.images)
    if len(texts) > MAX_DIFFERENT_REFERENCES:
        detail = f"A submission may have {MAX_DIFFERENT_REFERENCES} different reference images."
        raise ValidationFailed([lists[-1].mistake(None, detail)])
    looked_at = _each(lambda text: _look_at(text, client_id, uploads), list(texts))
    found = dict(zip(texts, looked_at, strict=True))
    if mistakes := list(_mistakes(lists, found)):
        raise ValidationFailed(mistakes[:MAX_MISTAKES])
    stored = {
        text: (text, image.etag) for text, image in found.items() if isinstance(image, _Found)
    }
    if not dry_run:
        inline = {
            text: image.content
            for text, image in found.items()
            if isinstance(image, _Found) and image.content is not None
        }
        put = _each(lambda content: uploads.put_reference(client_id, content), [*inline.values()])
        stored |= zip(inline, put, strict=True)
    return [[stored[text] for text in each.images] for each in lists]


def _each[Item, Found](call: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """The results of calls that wait for S3, several at the same time."""
    # The first call makes the client that the others share.
    found = [call(item) for item in items[:1]]
    if len(items) > 1:
        # Imported here because most submissions have no reference image.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            found += pool.map(call, items[1:])
    return found


def _look_at(text: str, client_id: UUID, uploads: Uploads) -> _Found | str:
    """The image, or the reason why the text is not an image."""
    try:
        if REFERENCE_KEY.fullmatch(text):
            etag, size = _own_upload(text, client_id, uploads)
            return _Found(size, etag=etag)
        content = _inline_image(text)
        sniff_image(content)
        return _Found(len(content), content)
    except _Refused as error:
        return str(error)
    except ObjectMissing:
        return NO_UPLOAD
    except InvalidImage:
        return NO_IMAGE


def _mistakes(
    lists: Sequence[ReferenceList], found: Mapping[str, _Found | str]
) -> Iterator[FieldError]:
    inline_bytes = 0
    seen: set[str] = set()
    for each in lists:
        total_bytes = 0
        for position, text in enumerate(each.images):
            image = found[text]
            if isinstance(image, str):
                yield each.mistake(position, image)
                continue
            total_bytes += image.size
            if image.content is not None and text not in seen:
                inline_bytes += image.size
                if inline_bytes > MAX_INLINE_REFERENCE_BYTES:
                    detail = "Inline images may have 2 MB in total; upload larger images."
                    yield each.mistake(None, detail)
                    return
            seen.add(text)
        if total_bytes > MAX_REFERENCES_BYTES:
            yield each.mistake(None, "The reference images of a prompt may have 15 MB in total.")


def _inline_image(text: str) -> bytes:
    """The bytes of base64, which may be wrapped in lines, or of a data URL (RFC 2397). The URL's
    media type is ignored: the content decides. Raises _Refused."""
    if re.match(r"https?://", text, re.IGNORECASE):
        raise _Refused(NO_FETCH)
    url = DATA_URL.fullmatch(text)
    if url is not None:
        media_type, text = url.groups()
        if media_type.lower().rpartition(";")[2].strip() != "base64":
            raise _Refused(NO_BASE64_DATA)
        text = unquote(text)
    try:
        return b64decode(text.translate(ASCII_SPACES), validate=True)
    except ValueError as error:
        raise _Refused(NO_BASE64) from error


def _own_upload(key: str, client_id: UUID, uploads: Uploads) -> tuple[str, int]:
    if not key.startswith(f"{client_id}/"):
        raise ObjectMissing
    return uploads.version_of(key)
