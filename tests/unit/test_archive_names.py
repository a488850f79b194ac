"""File names in archives."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masstock.database.queries.archives import NamedResult
from masstock.file_names import safe_stem
from masstock_finalize.archive_names import file_stems

RESERVED = ("CON", "prn", "Aux", "NUL", "com1", "LPT9", "COM²", "conin$")


def stems(*custom_ids: str | None) -> list[str]:
    results: list[NamedResult] = [
        {
            "batch_index": index,
            "prompt_index": index,
            "image_index": 0,
            "custom_id": custom_id,
            "several": False,
        }
        for index, custom_id in enumerate(custom_ids)
    ]
    return [file_stems(results)[index] for index in range(len(custom_ids))]


@pytest.mark.parametrize(
    ("custom_ids", "names"),
    [
        (["sku-1", None], ["sku-1", "0001"]),
        (["Ünï/:*?", "U\u0308ni\u0308/:*?"], ["Ünï____", "Ünï____~2"]),
        (["a/b", "a?b", "a_b"], ["a_b~2", "a_b~3", "a_b"]),
        (["Cat", "cat", "CAT"], ["Cat", "cat~2", "CAT~3"]),
        (["straße", "STRASSE"], ["straße", "STRASSE~2"]),
        (["nul", "nul.txt", "null"], ["_nul", "_nul.txt", "null"]),
        (["..", " .", ".hidden", "end. ."], ["0000", "0001", "hidden", "end"]),
        (["-rf", "a\u202egnp", "tab\there"], ["_rf", "a_gnp", "tab_here"]),
        ([None, "0000"], ["0000", "0000~2"]),
        (["a", "a?", "a_"], ["a", "a_~2", "a_"]),
    ],
)
def test_names_are_safe_and_unique(custom_ids: list[str | None], names: list[str]) -> None:
    assert stems(*custom_ids) == names


def test_several_images_of_a_prompt_are_numbered() -> None:
    images = [
        (0, 0, "a"),
        (0, 1, "a"),
        (1, 0, None),
        (1, 1, None),
        (2, 0, "a-2"),
        (3, 0, "x" * 200),
    ]
    results: list[NamedResult] = [
        {
            "batch_index": index,
            "prompt_index": prompt_index,
            "image_index": image_index,
            "custom_id": custom_id,
            "several": prompt_index != 2,
        }
        for index, (prompt_index, image_index, custom_id) in enumerate(images)
    ]
    assert list(file_stems(results).values()) == [
        *("a-1", "a-2", "0001-1", "0001-2", "a-2~2", "x" * 200 + "-1"),
    ]


def test_a_long_name_is_cut_at_a_character() -> None:
    assert safe_stem("x" * 200) == "x" * 200
    assert safe_stem("é" * 200) == "é" * 100
    assert safe_stem("x" * 199 + "😀") == "x" * 199
    assert stems("é" * 200, "é" * 150)[1] == "é" * 100 + "~2"


# Texts that become the same name often.
LIKELY = st.text(
    alphabet=st.one_of(st.sampled_from('aA._ ~-2/?:é\u0301"'), st.characters(codec="utf-8")),
    min_size=1,
    max_size=200,
)
IDS = st.one_of(st.none(), st.sampled_from(RESERVED), st.sampled_from(string.digits), LIKELY)


@given(st.lists(IDS, max_size=12))
def test_any_names_can_be_unpacked_on_any_file_system(custom_ids: list[str | None]) -> None:
    names = stems(*custom_ids)
    for name in names:
        assert name
        assert len(f"{name}-8.webp".encode()) <= 255
        assert not set(name) & set('<>:"/\\|?*')
        assert not any(unicodedata.category(c)[0] == "C" for c in name)
        assert name == name.strip()
        assert name[0] not in ".-"
        assert name[-1] != "."
        assert name.partition(".")[0].rstrip().casefold() not in {r.casefold() for r in RESERVED}
    # As NTFS and APFS compare names.
    for fold in (str.upper, str.casefold, lambda name: unicodedata.normalize("NFD", name).lower()):
        assert len({fold(name) for name in names}) == len(names)
