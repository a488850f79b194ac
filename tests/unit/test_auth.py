"""Bearer tokens: forged tokens are refused, and failures of the issuer have limited effects."""

import base64
import hmac
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from masstock.errors import IdentityProviderUnavailable, Unauthenticated
from masstock.services import key_sets, tokens
from masstock.services.tokens import Principal, authenticate
from masstock.settings import ApiSettings
from tests.support.web import Web

ISSUER, AUDIENCE = "https://issuer.example/auth/v1", "authenticated"
USER = UUID("123e4567-e89b-12d3-a456-426614174000")
SECRET = "the shared secret of issuer and api, long enough for HS512 by far.."
NOT_VALID = "The token is not valid here."

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
FORGERS_KEY = rsa.generate_private_key(65537, 2048)
# The key ids are the names of the algorithms, so that `signed` finds the key.
PRIVATE_KEYS: dict[str, Any] = {
    "HS256": SECRET,
    "RS256": RSA_KEY,
    "ES256": EC_KEY,
    "EdDSA": ED_KEY,
}


def public_jwk(algorithm: str, key: Any, key_id: str | None = None, **more: Any) -> dict[str, Any]:
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": key_id or algorithm, "alg": algorithm, "use": "sig", **more}


JWKS = {
    "keys": [
        public_jwk("RS256", RSA_KEY),
        public_jwk("ES256", EC_KEY),
        public_jwk("EdDSA", ED_KEY),
    ]
}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token, with changes. The value `...` removes a claim."""
    now = int(time.time())
    good = {"sub": str(USER), "exp": now + 3600, "iat": now, "iss": ISSUER, "aud": AUDIENCE}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def encode(raw: bytes | dict[str, Any]) -> str:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token made without a library, so that it can be malformed."""
    message = f"{encode(header)}.{encode(payload)}"
    return f"{message}.{encode(sign(message.encode()))}"


def with_hmac(secret: bytes, digest: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(secret, message, digest)


def signed(algorithm: str, payload: dict[str, Any] | None = None, **header: Any) -> str:
    """A token with the issuer's signature."""
    payload = claims() if payload is None else payload
    # Encoded by hand, because the library refuses some of the invalid payloads.
    sign = jwt.get_algorithm_by_name(algorithm)
    key = sign.prepare_key(PRIVATE_KEYS[algorithm])
    head = {"typ": "JWT", "alg": algorithm, "kid": algorithm, **header}
    return by_hand(head, payload, lambda message: sign.sign(message, key))


# --- the issuer ------------------------------------------------------------------------------


@pytest.fixture
def issuer(web: Web) -> Web:
    """The issuer's web server, which publishes JWKS by default."""
    web.answer(JWKS)
    return web


@pytest.fixture(autouse=True)
def a_new_process() -> Iterator[None]:
    def forget() -> None:
        key_sets._keys.clear()
        key_sets._fetched_at = key_sets._tried_at = float("-inf")

    forget()
    yield
    forget()


def pass_time(seconds: float) -> None:
    key_sets._fetched_at -= seconds
    key_sets._tried_at -= seconds


def a_minute_passes() -> None:
    pass_time(key_sets.RETRY_SECONDS + 1)


def settings(**mode: str) -> ApiSettings:
    given = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, **mode}
    return ApiSettings(defaultdict(lambda: "unused", given))


@pytest.fixture
def with_jwks(issuer: Web) -> ApiSettings:
    return settings(JWT_JWKS_URL=issuer.url + "/jwks.json")


@pytest.fixture(scope="module")
def jwt_secret(secrets_manager: Any) -> str:
    return secrets_manager.create_secret(Name="shared with the issuer", SecretString=SECRET)["ARN"]


@pytest.fixture
def with_secret(aws: None, jwt_secret: str) -> ApiSettings:
    return settings(JWT_SECRET_ID=jwt_secret)


def accepts(token: str, settings: ApiSettings) -> bool:
    return authenticate(f"Bearer {token}", settings).user_id == USER


def refusal(token: str, settings: ApiSettings) -> str:
    with pytest.raises(Unauthenticated) as refused:
        authenticate(f"Bearer {token}", settings)
    return refused.value.detail


# --- both modes ------------------------------------------------------------------------------


@pytest.fixture(params=list(PRIVATE_KEYS))
def mode(request: pytest.FixtureRequest) -> tuple[str, ApiSettings]:
    """An algorithm, and the settings that accept it."""
    fixture = "with_secret" if request.param == "HS256" else "with_jwks"
    return request.param, request.getfixturevalue(fixture)


type Mode = tuple[str, ApiSettings]


def test_the_issuers_token_names_the_principal(mode: Mode) -> None:
    algorithm, settings = mode
    token = signed(algorithm, claims(iat=1_700_000_000))
    assert authenticate(f"Bearer {token}", settings) == Principal(USER, 1_700_000_000)


def test_a_token_without_iat_is_accepted(mode: Mode) -> None:
    algorithm, settings = mode
    token = signed(algorithm, claims(iat=...))
    assert authenticate(f"Bearer {token}", settings).issued_at == 0


BAD_CLAIMS = {
    "no sub": {"sub": ...},
    "no exp": {"exp": ...},
    "no iss": {"iss": ...},
    "no aud": {"aud": ...},
    "another issuer": {"iss": "https://issuer.example/auth/v2"},
    "issuer with an extra slash": {"iss": ISSUER + "/"},
    "issuer in a list": {"iss": [ISSUER]},
    "issuer null": {"iss": None},
    "another audience": {"aud": "anon"},
    "only a part of the audience": {"aud": AUDIENCE[:-1]},
    "no audience in the list": {"aud": []},
    "audience null": {"aud": None},
    "nbf in the future": {"nbf": time.time() + 36_000},
    "nbf not a number": {"nbf": "soon"},
    "iat in the future": {"iat": time.time() + 36_000},
    "iat not a number": {"iat": "yesterday"},
    "iat a list": {"iat": [1]},
    "iat infinite": {"iat": float("inf")},
    "iat NaN": {"iat": float("nan")},
    "exp not a number": {"exp": "never"},
    "exp null": {"exp": None},
    "exp infinite": {"exp": float("inf")},
    "exp a list": {"exp": [time.time() + 60]},
    "sub null": {"sub": None},
    "sub a number": {"sub": 7},
    "sub a list": {"sub": [str(USER)]},
}


@pytest.mark.parametrize("bad", BAD_CLAIMS)
def test_a_signed_token_with_bad_claims_is_refused(mode: Mode, bad: str) -> None:
    algorithm, settings = mode
    assert refusal(signed(algorithm, claims(**BAD_CLAIMS[bad])), settings) == NOT_VALID


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_the_issuers_clock_may_be_half_a_minute_ahead(mode: Mode, claim: str) -> None:
    algorithm, settings = mode
    now = time.time()
    assert accepts(signed(algorithm, claims(**{claim: now + 29})), settings)
    assert refusal(signed(algorithm, claims(**{claim: now + 33})), settings) == NOT_VALID


@pytest.mark.parametrize("sub", ["", "anonymous", f"{USER} OR true", "' OR 1=1 --", f"{USER}0"])
def test_a_sub_that_is_not_a_uuid_is_refused(mode: Mode, sub: str) -> None:
    algorithm, settings = mode
    detail = refusal(signed(algorithm, claims(sub=sub)), settings)
    assert detail == "The token's sub is not a user id."


def test_a_cached_token_still_expires(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, settings = mode
    now = time.time()
    token = signed(algorithm, claims(exp=int(now) + 60))
    assert accepts(token, settings)
    monkeypatch.setattr(tokens.time, "time", lambda: now + 71)
    assert refusal(token, settings) == "The token has expired."


@pytest.mark.parametrize("age", [tokens.EXPIRY_GRACE_SECONDS + 1, 3600, 10**9])
def test_an_expired_token_is_refused_as_expired(mode: Mode, age: int) -> None:
    algorithm, settings = mode
    expired = claims(exp=int(time.time()) - age)
    assert refusal(signed(algorithm, expired), settings) == "The token has expired."


def test_one_audience_of_several_is_enough(mode: Mode) -> None:
    algorithm, settings = mode
    assert accepts(signed(algorithm, claims(aud=["other", AUDIENCE])), settings)


@pytest.mark.parametrize(
    "none", ["none", "None", "NONE", "nOnE", "none ", "", None, 0, [], ["none"], {}, ...]
)
@pytest.mark.parametrize("keep_signature", [False, True])
def test_no_spelling_of_the_algorithm_none_is_accepted(
    mode: Mode, none: Any, keep_signature: bool
) -> None:
    algorithm, settings = mode
    header = {"typ": "JWT", "alg": none, "kid": algorithm}
    if none is ...:
        del header["alg"]
    signature = signed(algorithm).rpartition(".")[2]
    message = f"{encode(header)}.{encode(claims())}."
    assert refusal(message + (signature if keep_signature else ""), settings) == NOT_VALID


def test_a_signature_covers_header_and_payload(mode: Mode) -> None:
    algorithm, settings = mode
    header, payload, signature = signed(algorithm).split(".")
    other = encode(claims(sub="ad000000-e89b-42d3-a456-426614174010"))
    long_lived = encode(claims(exp=10**11))
    other_header = encode({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"})
    for forged in (
        f"{header}.{other}.{signature}",
        f"{header}.{long_lived}.{signature}",
        f"{other_header}.{payload}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{encode(bytes(64))}",
        f"{header}.{payload}.{encode(bytes(256))}",
        f"{header}.{payload}.{signature}.{signature}",
        f".{payload}.{signature}",
        f"{header}..{signature}",
    ):
        assert refusal(forged, settings) == NOT_VALID


@pytest.mark.parametrize(
    "garbage",
    [
        "x",
        "a.b.c",
        "...",
        "null",
        "\x00",
        "é.é.é",
        "\ud800.\ud800.\ud800",
        "e30.e30.e30",
        f"{encode(b'[' * 12_000)}.e30.AA",
        f"{encode(b'null')}.e30.AA",
        f"{encode(b'[]')}.e30.AA",
        f"{encode({'alg': 'HS256', 'kid': 'RS256', 'crit': ['x'], 'x': 1})}.e30.AA",
        "A" * tokens.MAX_TOKEN_LENGTH,
        "." * tokens.MAX_TOKEN_LENGTH,
    ],
    ids=lambda garbage: ascii(garbage)[:24],
)
def test_garbage_is_refused_as_an_invalid_token(mode: Mode, garbage: str) -> None:
    assert refusal(garbage, mode[1]) == NOT_VALID


@pytest.mark.parametrize("length", [tokens.MAX_TOKEN_LENGTH + 1, 6 * 1024 * 1024])
def test_a_huge_token_is_refused_without_parsing(mode: Mode, issuer: Web, length: int) -> None:
    algorithm, settings = mode
    token = signed(algorithm, claims(padding="x" * length))
    assert refusal(token, settings) == "The token is too long."
    assert not issuer.requests


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Bearer",
        "Bearer ",
        "{token}",
        "Basic {token}",
        "Token {token}",
        "Bearer\t{token}",
        "Bearer:{token}",
        " Bearer {token}",
        "Basic dXNlcjpwYXNz, Bearer {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer {token},Basic dXNlcjpwYXNz",
        "Bearer {token} {token}",
        "Bearer Bearer {token}",
        'Bearer "{token}"',
        "Bearer token={token}",
    ],
)
def test_only_one_bearer_token_is_an_authorization(mode: Mode, header: str | None) -> None:
    algorithm, settings = mode
    with pytest.raises(Unauthenticated):
        authenticate(header and header.format(token=signed(algorithm)), settings)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(mode: Mode, scheme: str) -> None:
    algorithm, settings = mode
    assert authenticate(f"{scheme} {signed(algorithm)}", settings).user_id == USER


# --- keys published by the issuer ------------------------------------------------------------

PUBLIC_KEY_SPELLINGS = {
    "PEM": RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM without its last newline": RSA_KEY.public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .strip(),
    "PKCS 1": RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "DER": RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "JWK": json.dumps(JWKS["keys"][0]).encode(),
    "modulus": JWKS["keys"][0]["n"].encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("spelling", PUBLIC_KEY_SPELLINGS)
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_not_accepted_as_an_hmac_secret(
    with_jwks: ApiSettings, spelling: str, algorithm: str
) -> None:
    sign = with_hmac(PUBLIC_KEY_SPELLINGS[spelling], f"sha{algorithm[2:]}")
    token = by_hand({"alg": algorithm, "kid": "RS256"}, claims(), sign)
    assert refusal(token, with_jwks) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS512"])
def test_a_key_verifies_only_its_own_algorithm(with_jwks: ApiSettings, algorithm: str) -> None:
    token = jwt.encode(claims(), RSA_KEY, algorithm, {"kid": "RS256"})
    assert refusal(token, with_jwks) == NOT_VALID


@pytest.mark.parametrize(
    ("signer", "named"),
    [("RS256", "ES256"), ("ES256", "RS256"), ("EdDSA", "ES256"), ("HS256", "EdDSA")],
)
def test_a_key_does_not_verify_a_token_with_another_key_id(
    with_jwks: ApiSettings, signer: str, named: str
) -> None:
    assert refusal(signed(signer, kid=named), with_jwks) == NOT_VALID


@pytest.mark.parametrize("kid", ["", "unknown", "rs256", "../RS256", None, 0, ["RS256"], {}])
def test_a_token_must_name_a_published_key(with_jwks: ApiSettings, kid: Any) -> None:
    assert refusal(signed("RS256", kid=kid), with_jwks) == NOT_VALID


def test_a_token_that_names_no_key_is_refused_without_asking_the_issuer(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    assert refusal(jwt.encode(claims(), RSA_KEY, "RS256"), with_jwks) == NOT_VALID
    assert not issuer.requests


@pytest.mark.parametrize("kid", ["RS256", "forged"])
def test_keys_inside_a_token_are_ignored(with_jwks: ApiSettings, issuer: Web, kid: str) -> None:
    own = public_jwk("RS256", FORGERS_KEY, kid)
    header = {"kid": kid, "jwk": own, "jku": issuer.url + "/forged", "x5u": issuer.url, "x5c": [""]}
    assert refusal(jwt.encode(claims(), FORGERS_KEY, "RS256", header), with_jwks) == NOT_VALID
    assert len(issuer.requests) == 1


@pytest.mark.parametrize("extra", [{}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "none"}])
@pytest.mark.parametrize("others", [[], JWKS["keys"]], ids=["alone", "beside others"])
def test_a_published_shared_secret_verifies_nothing(
    with_jwks: ApiSettings, issuer: Web, extra: dict[str, str], others: list[Any]
) -> None:
    secret = b"published by mistake, in a set of public keys, for all to see..."
    issuer.answer({"keys": [{"kty": "oct", "kid": "oct", "k": encode(secret), **extra}, *others]})
    for algorithm in ("HS256", "RS256", "none"):
        token = by_hand({"alg": algorithm, "kid": "oct"}, claims(), with_hmac(secret))
        with pytest.raises((Unauthenticated, IdentityProviderUnavailable)):
            authenticate(f"Bearer {token}", with_jwks)


def test_a_key_for_encryption_verifies_nothing(with_jwks: ApiSettings, issuer: Web) -> None:
    issuer.answer({"keys": [public_jwk("RS256", RSA_KEY, use="enc"), *JWKS["keys"][1:]]})
    assert refusal(signed("RS256"), with_jwks) == NOT_VALID
    assert accepts(signed("ES256"), with_jwks)


def test_a_key_without_use_and_algorithm_verifies(with_jwks: ApiSettings, issuer: Web) -> None:
    jwk = public_jwk("RS256", RSA_KEY)
    del jwk["use"], jwk["alg"]
    issuer.answer({"keys": [jwk]})
    assert accepts(signed("RS256"), with_jwks)


def test_an_unreadable_key_does_not_hide_the_others(with_jwks: ApiSettings, issuer: Web) -> None:
    strange: list[Any] = [
        {"kty": "lattice", "kid": "new"},
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
        {"kty": "oct", "kid": "none", "alg": "none", "k": "AA"},
        {**JWKS["keys"][0], "kid": ["RS256"]},
        "no object",
    ]
    issuer.answer({"keys": [*strange, *JWKS["keys"]]})
    assert accepts(signed("RS256"), with_jwks)


def test_keys_are_fetched_once_for_many_tokens(with_jwks: ApiSettings, issuer: Web) -> None:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        assert accepts(signed(algorithm), with_jwks)
    a_minute_passes()
    assert accepts(signed("RS256"), with_jwks)
    assert len(issuer.requests) == 1


def test_forged_key_ids_cause_few_requests_to_the_issuer(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    for number in range(20):
        assert refusal(signed("RS256", kid=f"forged {number}"), with_jwks) == NOT_VALID
    assert len(issuer.requests) == 1
    a_minute_passes()
    for number in range(20):
        assert refusal(signed("RS256", kid=f"forged {number}"), with_jwks) == NOT_VALID
    assert len(issuer.requests) == 2


def test_a_rotated_key_is_fetched_and_the_old_one_dropped(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    assert accepts(signed("RS256"), with_jwks)
    issuer.answer({"keys": [public_jwk("RS256", FORGERS_KEY, "next")]})
    token = jwt.encode(claims(), FORGERS_KEY, "RS256", {"kid": "next"})
    assert refusal(token, with_jwks) == NOT_VALID
    a_minute_passes()
    assert accepts(token, with_jwks)
    assert refusal(signed("RS256"), with_jwks) == NOT_VALID


def test_a_cached_token_becomes_invalid_with_its_key(with_jwks: ApiSettings, issuer: Web) -> None:
    token = signed("RS256")
    assert accepts(token, with_jwks)
    issuer.answer({"keys": [public_jwk("RS256", FORGERS_KEY, "RS256")]})
    a_minute_passes()
    assert refusal(signed("RS256", kid="unknown"), with_jwks) == NOT_VALID
    assert refusal(token, with_jwks) == NOT_VALID


ISSUER_FAILURES: dict[str, Callable[[Web], None]] = {
    "500": lambda issuer: issuer.answer({}, status=500),
    "404 with keys": lambda issuer: issuer.answer(JWKS, status=404),
    "not JSON": lambda issuer: issuer.answer(b"<html>maintenance</html>"),
    "not text": lambda issuer: issuer.answer(b"\xff\xfe\xfd"),
    "empty": lambda issuer: issuer.answer(b""),
    "cut short": lambda issuer: issuer.answer(JWKS, length=10**6),
    "nested too deeply": lambda issuer: issuer.answer(b"[" * 100_000),
    "a list": lambda issuer: issuer.answer(JWKS["keys"]),
    "null": lambda issuer: issuer.answer(None),
    "no keys": lambda issuer: issuer.answer({}),
    "an empty set": lambda issuer: issuer.answer({"keys": []}),
    "keys not a list": lambda issuer: issuer.answer({"keys": "none today"}),
    "keys not objects": lambda issuer: issuer.answer({"keys": [1, None, "x"]}),
    "only keys of unknown types": lambda issuer: issuer.answer({"keys": [{"kty": "x"}]}),
    "key type not text": lambda issuer: issuer.answer({"keys": [{"kty": 7, "kid": "x"}]}),
    "key id not text": lambda issuer: issuer.answer(
        {"keys": [{**JWKS["keys"][0], "kid": ["RS256"]}]}
    ),
    "stalls": Web.stall,
    "hangs up": Web.hang_up,
    "answers without HTTP": Web.babble,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("failure", ISSUER_FAILURES)
def test_without_any_keys_a_failing_issuer_is_reported_as_unavailable(
    with_jwks: ApiSettings, issuer: Web, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "FETCH_TIMEOUT_SECONDS", 0.3)
    ISSUER_FAILURES[failure](issuer)
    with pytest.raises(IdentityProviderUnavailable):
        authenticate(f"Bearer {signed('RS256')}", with_jwks)
    issuer.answer(JWKS)
    issuer.released.set()
    monkeypatch.undo()
    pass_time(key_sets.RETRY_WITHOUT_KEYS_SECONDS + 0.1)
    assert accepts(signed("RS256"), with_jwks)


# The issuer answers, and withdraws every key.
WITHDRAWALS = {
    "an empty set",
    "keys not objects",
    "only keys of unknown types",
    "key type not text",
    "key id not text",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("failure", [name for name in ISSUER_FAILURES if name not in WITHDRAWALS])
def test_a_failed_refresh_keeps_the_last_good_keys(
    with_jwks: ApiSettings, issuer: Web, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accepts(signed("RS256"), with_jwks)
    a_minute_passes()
    monkeypatch.setattr(key_sets, "FETCH_TIMEOUT_SECONDS", 0.3)
    ISSUER_FAILURES[failure](issuer)
    for number in range(3):
        assert refusal(signed("RS256", kid=f"unknown {number}"), with_jwks) == NOT_VALID
        assert accepts(signed("RS256"), with_jwks)
    assert len(issuer.requests) == 2


@pytest.mark.parametrize("failure", sorted(WITHDRAWALS))
def test_a_set_without_usable_keys_ends_the_last_keys_and_is_logged(
    with_jwks: ApiSettings, issuer: Web, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = signed("RS256")
    assert accepts(token, with_jwks)
    ISSUER_FAILURES[failure](issuer)
    pass_time(key_sets.REFRESH_SECONDS + 1)
    with pytest.raises(IdentityProviderUnavailable):
        authenticate(f"Bearer {token}", with_jwks)
    assert "the issuer's key set has no usable key" in caplog.messages
    issuer.answer(JWKS)
    pass_time(key_sets.RETRY_WITHOUT_KEYS_SECONDS + 0.1)
    assert accepts(token, with_jwks)


def test_a_withdrawn_key_is_refused_within_five_minutes(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    token = signed("RS256")
    assert accepts(token, with_jwks)
    issuer.answer({"keys": JWKS["keys"][1:]})
    pass_time(key_sets.REFRESH_SECONDS - 1)
    assert accepts(token, with_jwks)
    pass_time(2)
    assert refusal(token, with_jwks) == NOT_VALID
    assert accepts(signed("ES256"), with_jwks)
    # Two attempts fit into the five minutes.
    assert key_sets.REFRESH_SECONDS + key_sets.RETRY_SECONDS <= 300


def test_a_failing_issuer_keeps_sign_in_alive_for_an_hour(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    token = signed("RS256")
    assert accepts(token, with_jwks)
    issuer.answer({}, status=500)
    for minute in range(60):
        assert accepts(token, with_jwks), minute
        pass_time(60)
    asked = len(issuer.requests)
    assert asked <= 1 + 60
    pass_time(61)
    with pytest.raises(IdentityProviderUnavailable):
        authenticate(f"Bearer {token}", with_jwks)
    issuer.answer(JWKS)
    pass_time(key_sets.RETRY_WITHOUT_KEYS_SECONDS + 0.1)
    assert accepts(token, with_jwks)


def test_a_key_withdrawn_while_the_issuer_fails_lives_until_the_next_good_fetch(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    """docs/security.md states this hour."""
    token = signed("RS256")
    assert accepts(token, with_jwks)
    issuer.answer({}, status=500)
    pass_time(key_sets.KEPT_SECONDS / 2)
    assert accepts(token, with_jwks)
    issuer.answer({"keys": JWKS["keys"][1:]})
    pass_time(key_sets.RETRY_SECONDS + 1)
    assert refusal(token, with_jwks) == NOT_VALID
    assert accepts(signed("ES256"), with_jwks)


def test_without_keys_forged_tokens_cause_a_request_a_second(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    issuer.answer({}, status=500)
    for _ in range(2):
        for number in range(20):
            with pytest.raises(IdentityProviderUnavailable):
                authenticate(f"Bearer {signed('RS256', kid=f'forged {number}')}", with_jwks)
        pass_time(key_sets.RETRY_WITHOUT_KEYS_SECONDS)
    assert len(issuer.requests) == 2


def test_forged_key_ids_cause_no_more_requests_while_the_issuer_fails(
    with_jwks: ApiSettings, issuer: Web
) -> None:
    assert accepts(signed("RS256"), with_jwks)
    issuer.answer({}, status=500)
    pass_time(key_sets.REFRESH_SECONDS + 1)
    for number in range(20):
        assert refusal(signed("RS256", kid=f"forged {number}"), with_jwks) == NOT_VALID
        assert accepts(signed("RS256"), with_jwks)
    assert len(issuer.requests) == 2


@pytest.mark.parametrize("name", ["Ed25519", "EdDSA", None])
@pytest.mark.parametrize("header", ["Ed25519", "EdDSA"])
def test_ed25519_verifies_by_both_of_its_names(
    with_jwks: ApiSettings, issuer: Web, name: str | None, header: str
) -> None:
    jwk = public_jwk("EdDSA", ED_KEY)
    issuer.answer({"keys": [{k: v for k, v in {**jwk, "alg": name}.items() if v is not None}]})
    assert accepts(signed("EdDSA", alg=header), with_jwks)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_without_an_algorithm_verifies_each_of_its_type(
    with_jwks: ApiSettings, issuer: Web, algorithm: str
) -> None:
    jwk = public_jwk("RS256", RSA_KEY)
    del jwk["alg"]
    issuer.answer({"keys": [jwk]})
    token = jwt.encode(claims(), RSA_KEY, algorithm, {"kid": "RS256"})
    assert accepts(token, with_jwks)
    forged = jwt.encode(claims(), FORGERS_KEY, algorithm, {"kid": "RS256"})
    assert refusal(forged, with_jwks) == NOT_VALID


def test_a_key_for_ps256_verifies_ps256(with_jwks: ApiSettings, issuer: Web) -> None:
    issuer.answer({"keys": [public_jwk("PS256", RSA_KEY, "p")]})
    assert accepts(jwt.encode(claims(), RSA_KEY, "PS256", {"kid": "p"}), with_jwks)
    assert refusal(jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "p"}), with_jwks) == NOT_VALID


def test_an_unreachable_issuer_is_reported_as_unavailable(with_jwks: ApiSettings) -> None:
    nowhere = settings(JWT_JWKS_URL="http://127.0.0.1:1/jwks.json")
    with pytest.raises(IdentityProviderUnavailable):
        authenticate(f"Bearer {signed('RS256')}", nowhere)


# --- a shared secret -------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_shared_secret_accepts_no_asymmetric_token(
    with_secret: ApiSettings, algorithm: str
) -> None:
    assert refusal(signed(algorithm), with_secret) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "PS256", "HS384", "HS512"])
def test_a_shared_secret_verifies_only_hs256(with_secret: ApiSettings, algorithm: str) -> None:
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(algorithm, "sha256")
    token = by_hand({"alg": algorithm}, claims(), with_hmac(SECRET.encode(), digest))
    assert refusal(token, with_secret) == NOT_VALID


@pytest.mark.parametrize("secret", ["", "secret", SECRET[:-1], SECRET + "\n", SECRET.upper()])
def test_a_token_signed_with_another_secret_is_refused(
    with_secret: ApiSettings, secret: str
) -> None:
    token = by_hand({"alg": "HS256"}, claims(), with_hmac(secret.encode()))
    assert refusal(token, with_secret) == NOT_VALID


def test_with_a_shared_secret_the_issuer_is_not_called(
    with_secret: ApiSettings, issuer: Web
) -> None:
    assert accepts(signed("HS256", jku=issuer.url), with_secret)
    assert not issuer.requests


def test_an_unreadable_shared_secret_is_reported_as_unavailable(with_secret: ApiSettings) -> None:
    without = settings(JWT_SECRET_ID="gone")
    with pytest.raises(IdentityProviderUnavailable):
        authenticate(f"Bearer {signed('HS256')}", without)
