"""Names of files that every file system accepts."""

import re
import unicodedata

# With the image's number, a mark against repetition and the extension, a name has at most 255
# bytes, the limit of most file systems. 200 is the greatest length of a custom_id.
MAX_STEM_BYTES = 200
# Characters that Windows or a shell gives a meaning.
UNSAFE = re.compile(r'[<>:"/\\|?*]')
# Control characters, characters that change the direction of text or are invisible, surrogates,
# private and unassigned characters, and line ends.
UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Windows has a device under each of these names, with any extension.
DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL
)


def safe_stem(text: str) -> str:
    """The text as a name that every file system accepts. Empty if no character is left."""
    text = UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    text = "".join("_" if unicodedata.category(c) in UNPRINTABLE else c for c in text)
    # A leading dot hides a file, a leading hyphen looks like an option of a program, and Windows
    # removes dots and spaces at the end.
    text = re.sub(r"^[\s.]+", "", text)
    text = re.sub(r"^-", "_", text)
    if DEVICES.fullmatch(text):
        text = f"_{text}"
    text = text.encode()[:MAX_STEM_BYTES].decode(errors="ignore")
    return re.sub(r"[\s.]+$", "", text)


def image_stem(custom_id: str | None, prompt_index: int, image_index: int, *, several: bool) -> str:
    """The file name of an image without its extension: the custom_id, or else the prompt's index;
    then the number of the image if its prompt has `several`."""
    number = f"-{image_index + 1}" if several else ""
    return (safe_stem(custom_id or "") or f"{prompt_index:04}") + number
