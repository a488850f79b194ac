"""Patterns of text in requests, and what a caller should send if a text does not match."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Spaces, control characters and characters of no width. Not \s, which differs between dialects of
# regular expressions.
_SPACES = (
    r"\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
# U+0000 is refused, because Postgres cannot store it.
VISIBLE = rf"^[^\x00]*[^{_SPACES}][^\x00]*$"
EMAIL = rf"^[^{_SPACES}@]+@[^{_SPACES}@]+\.[^{_SPACES}@]+$"
# HTTP cannot send a header value that begins or ends with a space.
API_KEY = r"^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$"
WEB_URL = r"^https?://[\x21-\x7e]+$"
RATIO = r"^[1-9][0-9]?:[1-9][0-9]?$"
# The name is one part of the path of the provider's URL.
MODEL_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$"

WORDS = {
    VISIBLE: "Send text with a visible character and without U+0000.",
    EMAIL: "Send an e-mail address, such as jane@example.com.",
    API_KEY: "Send printable ASCII characters, without a space at the beginning or the end.",
    WEB_URL: "Send a URL that begins with http:// or https://, in ASCII and without spaces.",
    RATIO: "Send a ratio of whole numbers from 1 to 99, such as 16:9.",
    MODEL_NAME: "Send letters, digits, '.', '_' and '-', with a letter or a digit at both ends.",
}


def reason_of(mistake: "ErrorDetails") -> str:
    """Why pydantic refuses a value. People read it, so it has words for a pattern."""
    return WORDS.get(mistake.get("ctx", {}).get("pattern", ""), mistake["msg"])
