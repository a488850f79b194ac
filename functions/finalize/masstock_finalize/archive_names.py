"""File names in archives: safe on every file system, and unique."""

import unicodedata
from collections.abc import Iterable, Mapping

from masstock.database.queries.archives import NamedResult
from masstock.file_names import safe_stem


def file_stems(results: Iterable[NamedResult]) -> Mapping[int, str]:
    """The file name of each result by `batch_index`, without its extension: the custom_id, or else
    the prompt's index; then the number of the image if the prompt has several. Two names also
    differ if a file system ignores case and forms of accents."""
    stems: dict[int, str] = {}
    taken: set[str] = set()
    # A custom_id that is safe as it is keeps its name, also if another one becomes the same.
    for must_be_safe in (True, False):
        for result in results:
            position = f"{result['prompt_index']:04}"
            wanted = result["custom_id"] or position
            stem = safe_stem(wanted) or position
            if (stem == wanted) == must_be_safe:
                number = f"-{result['image_index'] + 1}" if result["several"] else ""
                stems[result["batch_index"]] = _unique(stem + number, taken)
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
