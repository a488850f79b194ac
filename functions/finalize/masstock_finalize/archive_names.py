"""File names in archives: safe on every file system, and unique."""

import unicodedata
from collections.abc import Iterable, Mapping

from masstock.database.queries.archives import NamedResult
from masstock.file_names import image_stem, safe_stem


def file_stems(results: Iterable[NamedResult]) -> Mapping[int, str]:
    """The file name of each result by `batch_index`, without its extension; see `image_stem`. Two
    names also differ if a file system ignores case and forms of accents."""
    stems: dict[int, str] = {}
    taken: set[str] = set()
    # A custom_id that is safe as it is keeps its name, also if another one becomes the same.
    for must_be_safe in (True, False):
        for result in results:
            custom_id = result["custom_id"]
            is_safe = not custom_id or safe_stem(custom_id) == custom_id
            if is_safe == must_be_safe:
                stem = image_stem(
                    custom_id,
                    result["prompt_index"],
                    result["image_index"],
                    several=result["several"],
                )
                stems[result["batch_index"]] = _unique(stem, taken)
    return stems


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
