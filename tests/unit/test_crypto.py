"""masstock.services.sealing: only the right key, client and execution open a sealed API key."""

import json
import string
import traceback
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from masstock.errors import ApiKeyUnreadable
from masstock.services.sealing import seal, unseal

CLIENT = UUID("456e7890-e89b-12d3-a456-426614174001")
EXECUTION = UUID("def45678-e89b-12d3-a456-426614174004")
FIRST = {"current": "k1", "k1": "1" * 64}
ROTATED = {**FIRST, "current": "k2", "k2": "2" * 64}
FIRST_KEYS, ROTATED_KEYS = json.dumps(FIRST), json.dumps(ROTATED)
# One of each length modulo 3: base64 leaves 0, 2 or 4 bits of its last character unused.
API_KEYS = ["an-api-key!!", "an-api-key!!!", "an-api-key!!!!"]
SPELLING = string.ascii_letters + string.digits + "-_+/=. \n\x00é"

any_key = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=512)


def sealed(api_key: str = API_KEYS[0]) -> str:
    return seal(api_key, CLIENT, EXECUTION, FIRST_KEYS)


def refused(token: str, client: UUID = CLIENT, execution: UUID = EXECUTION) -> bool:
    try:
        unseal(token, client, execution, ROTATED_KEYS)
    except ApiKeyUnreadable:
        return True
    return False


@given(api_key=any_key, client=st.uuids(), execution=st.uuids())
def test_a_sealed_key_opens_again(api_key: str, client: UUID, execution: UUID) -> None:
    token = seal(api_key, client, execution, FIRST_KEYS)
    assert unseal(token, client, execution, FIRST_KEYS) == api_key


def test_a_sealed_key_shows_only_its_version_and_key_id() -> None:
    version, key_id, nonce, ciphertext = sealed().split(".")
    assert (version, key_id) == ("v1", "k1")
    assert len(nonce) == 16
    assert API_KEYS[0] not in nonce + ciphertext


def test_sealing_twice_gives_different_results() -> None:
    assert len({sealed() for _ in range(50)}) == 50


@given(client=st.uuids(), execution=st.uuids())
@example(client=EXECUTION, execution=CLIENT)
@example(client=CLIENT, execution=UUID(int=0))
@example(client=UUID(int=0), execution=EXECUTION)
def test_a_sealed_key_of_another_client_or_execution_does_not_open(
    client: UUID, execution: UUID
) -> None:
    assume((client, execution) != (CLIENT, EXECUTION))
    assert refused(sealed(), client, execution)


@pytest.mark.parametrize("api_key", API_KEYS)
def test_a_sealed_key_with_one_changed_character_does_not_open(api_key: str) -> None:
    token = sealed(api_key)
    altered = [
        token[:place] + character + token[place + 1 :]
        for place in range(len(token))
        for character in SPELLING
        if character != token[place]
    ]
    assert [each for each in altered if not refused(each)] == []


@pytest.mark.parametrize("api_key", API_KEYS)
def test_a_cut_lengthened_or_padded_sealed_key_does_not_open(api_key: str) -> None:
    token = sealed(api_key)
    shorter = [token[:end] for end in range(len(token))] + [token[1:]]
    longer = [token + end for end in ("A", "=", "==", "====", ".", ".A", " ", "\n")]
    assert [each for each in shorter + longer if not refused(each)] == []


@given(st.text() | st.lists(st.text(SPELLING), min_size=4, max_size=4).map(".".join))
def test_other_text_does_not_open(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize("key_id", ["", "current", "k2", "k3", "K1", "k1 "])
def test_a_sealed_key_does_not_open_with_another_sealing_key(key_id: str) -> None:
    version, _, nonce, ciphertext = sealed().split(".")
    assert refused(".".join((version, key_id, nonce, ciphertext)))


def test_current_is_never_used_as_a_key_id() -> None:
    # Otherwise the key would be the id of the current key, which every token shows.
    token = seal("an-api-key", CLIENT, EXECUTION, json.dumps({"current": "current"}))
    with pytest.raises(ApiKeyUnreadable):
        unseal(token, CLIENT, EXECUTION, json.dumps({"current": "current"}))


def test_a_rotation_seals_with_the_new_key_and_still_opens_old_values() -> None:
    old = sealed()
    new = seal(API_KEYS[0], CLIENT, EXECUTION, ROTATED_KEYS)
    assert new.split(".")[1] == "k2"
    assert unseal(old, CLIENT, EXECUTION, ROTATED_KEYS) == API_KEYS[0]
    assert unseal(new, CLIENT, EXECUTION, ROTATED_KEYS) == API_KEYS[0]


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(json.dumps({"current": "k2", "k2": "2" * 64}), id="key removed"),
        pytest.param(json.dumps({**FIRST, "k1": "another" * 9}), id="key replaced"),
        pytest.param("{}", id="no keys"),
        pytest.param("not JSON", id="no JSON"),
    ],
)
def test_a_sealed_key_without_its_sealing_key_does_not_open(keys: str) -> None:
    with pytest.raises(ApiKeyUnreadable):
        unseal(sealed(), CLIENT, EXECUTION, keys)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token[:-4], id="truncated"),
        pytest.param(lambda token: token.replace("k1", "k9"), id="unknown key"),
        pytest.param(lambda token: token.replace(".", ""), id="no token"),
    ],
)
def test_a_refusal_contains_neither_the_api_key_nor_the_sealing_key(spoil) -> None:
    api_key = "AIza-very-secret-api-key"
    with pytest.raises(ApiKeyUnreadable) as refusal:
        unseal(spoil(sealed(api_key)), CLIENT, EXECUTION, FIRST_KEYS)
    told = "".join(traceback.format_exception(refusal.value)) + repr(refusal.value.__cause__)
    assert api_key not in told
    assert FIRST["k1"] not in told
