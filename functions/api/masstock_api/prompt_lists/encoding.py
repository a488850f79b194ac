"""Prompt files are UTF-8, with or without a byte order mark."""

import io
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator

from masstock.errors import FieldError, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock_api.prompt_lists.places import FILE

MAX_LINE = 1024 * 1024
# The longest list has a hundred lines for each prompt. Lines of blanks alone take long to skip.
MAX_LINES = 100 * PROMPTS_LIMIT


def beginning(content: bytes) -> int:
    """The position after the byte order mark. Raises ValidationFailed for UTF-16 and UTF-32. Their
    ASCII characters contain zero bytes, which are valid UTF-8."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise not_utf8(1)
    return len(BOM_UTF8) if content.startswith(BOM_UTF8) else 0


def not_utf8(line: int) -> ValidationFailed:
    """The mistake of a line in another encoding."""
    detail = f"Line {line}: the file is not UTF-8. Save it as UTF-8, then upload it again."
    return ValidationFailed([FieldError(FILE, detail)])


def wrong_byte(content: bytes) -> ValidationFailed:
    """The same mistake. Looks for its line."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return not_utf8(content.count(b"\n", 0, error.start) + 1)
    return not_utf8(1)


def lines_of(content: bytes) -> Iterator[str]:
    """The lines with their line breaks. Raises ValidationFailed for a line that is too long, whose
    cells could take many times its memory, and for too many lines."""
    with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
        for number, line in enumerate(text, 1):
            if len(line) > MAX_LINE:
                raise ValidationFailed([FieldError(FILE, f"Line {number} is longer than 1 MB.")])
            if number > MAX_LINES:
                raise ValidationFailed(
                    [FieldError(FILE, f"The file has more than {MAX_LINES} lines.")]
                )
            yield line
