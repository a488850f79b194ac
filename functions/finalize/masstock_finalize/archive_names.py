"""File names in archives: safe on every file system, and unique."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from masstock.database.queries.archives import NamedResult

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


def file_stems(results: Iterable[NamedResult]) -> Mapping[int, str]:
    """The file name of each result by `batch_index`, without its extension: the custom_id, or else
    the index. Two names also differ if a file system ignores case and forms of accents."""
    stems: dict[int, str] = {}
    taken: set[str] = set()
    # A custom_id that is safe as it is keeps its name, also if another one becomes the same.
    for must_be_safe in (True, False):
        for result in results:
            wanted = result["custom_id"] or f"{result['batch_index']:04}"
            stem = safe_stem(wanted) or f"{result['batch_index']:04}"
            if (stem == wanted) == must_be_safe:
                stems[result["batch_index"]] = _unique(stem, taken)
    return stems


def safe_stem(text: str) -> str:
    """The text as a name that every file system takes. Empty if nothing is left of it."""
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


def _unique(stem: str, taken: set[str]) -> str:
    candidate, number = stem, 1
    while (folded := _folded(candidate)) in taken:
        number += 1
        candidate = f"{stem}~{number}"
    taken.add(folded)
    return candidate


def _folded(name: str) -> str:
    """The same text for names that some file system treats as equal."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
