"""An invitation goes to the person who signs in with its confirmed e-mail address, and to no one
else. Every refusal leaves the table of users as it was."""

import hmac
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest

from masstock import settings
from tests.support.databases import IDENTITY_KEY, Urls, connected, signed_identity
from tests.support.demo_data import ACME, GLOBEX, JOHN_OF_ACME
from tests.support.handler import Api, token

EMAIL = "new.person@acme.example"
TOMORROW = datetime.now(UTC) + timedelta(days=1)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def owner(database: Urls) -> Iterator[psycopg.Connection]:
    """Rows that a test adds or changes are removed at its end."""
    with connected(database.superuser) as connection:
        yield connection
        connection.execute("DELETE FROM public.support_tickets WHERE subject = 'of the invited'")
        connection.execute("DELETE FROM public.users WHERE email ILIKE '%%person@acme.example'")
        connection.execute("UPDATE public.clients SET status = 'active'")


def invite(owner: psycopg.Connection, **columns: Any) -> UUID:
    row = {
        "id": uuid4(),
        "email": EMAIL,
        "role": "client",
        "client_id": ACME,
        "status": "active",
        "last_login": None,
        "invited_until": TOMORROW,
        **columns,
    }
    # Without the trigger that keeps addresses apart: an earlier release had none.
    with owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute(
            "INSERT INTO public.users"
            " (id, email, name, role, client_id, status, last_login, invited_until) VALUES"
            " (%(id)s, %(email)s, 'Invited', %(role)s, %(client_id)s, %(status)s, %(last_login)s,"
            " %(invited_until)s)",
            row,
        )
    return row["id"]


def users(owner: psycopg.Connection) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT id, email, role, client_id, status, invited_until FROM public.users ORDER BY id"
    ).fetchall()


# --- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def configured(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets CONFIRMED_EMAILS."""

    def configure(mode: str) -> None:
        monkeypatch.setenv("CONFIRMED_EMAILS", mode)
        settings._parsed.clear()

    yield configure
    settings._parsed.clear()


def sign_in(api: Api, sub: UUID, **claims: Any) -> tuple[int, str | None]:
    """Status and code of a first request with such a token."""
    bearer = {"Authorization": f"Bearer {token(sub, **claims)}"}
    answer = api.call(None, "GET", "/v1/me", headers=bearer)
    assert answer.json is not None
    return answer.status_code, answer.json.get("code")


CONFIRMED = {"email": EMAIL, "email_verified": True}


class Claim(NamedTuple):
    """A first sign-in: the token's claims, the configuration, and the columns of each user with
    the address."""

    claims: dict[str, Any] = CONFIRMED
    mode: str = "claim"
    rows: tuple[dict[str, Any], ...] = ({},)


GOOD = {
    "confirmed by a claim": Claim(),
    "in other case": Claim({**CONFIRMED, "email": EMAIL.upper()}),
    "invited in other case": Claim(rows=({"email": EMAIL.title()},)),
    "confirmed as the operator states": Claim({"email": EMAIL}, "always"),
    "an administrator": Claim(rows=({"role": "admin", "client_id": None},)),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_confirmed_address_claims_its_invitation(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None], what: str
) -> None:
    claims, mode, rows = GOOD[what]
    configured(mode)
    invited, sub = invite(owner, **rows[0]), uuid4()
    before = users(owner)
    assert sign_in(api, sub, **claims) == (200, None)
    changed = {row[0]: row for row in users(owner)}
    [was] = [row for row in before if row[0] == invited]
    assert invited not in changed
    assert changed.pop(sub) == (sub, *was[1:5], None)
    assert list(changed.values()) == [row for row in before if row[0] != invited]
    # Now it is an account like others: another sub gets nothing, and the token stays good.
    assert sign_in(api, uuid4(), **claims) == (403, "not_provisioned")
    assert sign_in(api, sub) == (200, None)


def other(**claims: Any) -> Claim:
    return Claim({**CONFIRMED, **claims})


def invited(**columns: Any) -> Claim:
    return Claim(rows=(columns,))


HOSTILE = {
    "invitations are off": Claim(mode="none"),
    "not confirmed": other(email_verified=False),
    "nothing said about it": Claim({"email": EMAIL}),
    "confirmed by a word": other(email_verified="true"),
    "confirmed by a number": other(email_verified=1),
    "confirmed by a list": other(email_verified=[True]),
    "confirmed in a claim that users write": Claim(
        {"email": EMAIL, "user_metadata": {"email": EMAIL, "email_verified": True}}
    ),
    "an address in a claim that users write": Claim(
        {"email": "other@acme.example", "user_metadata": CONFIRMED, "email_verified": True}
    ),
    "an address in a claim that users write, as the operator states": Claim(
        {"user_metadata": CONFIRMED, "app_metadata": CONFIRMED}, "always"
    ),
    "not confirmed, against the operator's statement": Claim(
        {"email": EMAIL, "email_verified": False}, "always"
    ),
    "not confirmed in a word, against the operator's statement": Claim(
        {"email": EMAIL, "email_verified": "false"}, "always"
    ),
    "no address": other(email=None),
    "an empty address": other(email=""),
    "a list of addresses": other(email=[EMAIL]),
    "another address": other(email=f"x{EMAIL}"),
    "a pattern": other(email="%@acme.example"),
    "a space": other(email=f" {EMAIL}"),
    "a control character": other(email=f"{EMAIL}\0"),
    # The Kelvin sign, whose other case is k.
    "a letter that resembles another": Claim(
        {**CONFIRMED, "email": "\u212a.person@acme.example"},
        rows=({"email": "k.person@acme.example"},),
    ),
    "SQL": other(email=f"{EMAIL}' OR '1'='1"),
    "the separator of the signed message": other(email=f"|{EMAIL}"),
    "expired": invited(invited_until=YESTERDAY),
    "claimed": invited(invited_until=None),
    "used": invited(last_login=YESTERDAY),
    "suspended": invited(status="suspended"),
    "deleted": invited(status="deleted"),
    "two invitations": Claim(rows=({}, {"email": EMAIL.upper()})),
    "two invitations of two clients": Claim(
        rows=({}, {"email": EMAIL.title(), "client_id": GLOBEX})
    ),
    "an invitation and an account": Claim(
        rows=({}, {"email": EMAIL.upper(), "invited_until": None})
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_nobody_gets_anything_from(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None], what: str
) -> None:
    claims, mode, rows = HOSTILE[what]
    configured(mode)
    for row in rows:
        invite(owner, **row)
    before = users(owner)
    assert sign_in(api, uuid4(), **claims) == (403, "not_provisioned")
    assert users(owner) == before


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_an_invitation_of_an_inactive_client_waits(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None], status: str
) -> None:
    configured("claim")
    invite(owner)
    owner.execute("UPDATE public.clients SET status = %s WHERE id = %s", [status, ACME])
    before, sub = users(owner), uuid4()
    assert sign_in(api, sub, **CONFIRMED) == (403, "not_provisioned")
    assert users(owner) == before
    owner.execute("UPDATE public.clients SET status = 'active'")
    assert sign_in(api, sub, **CONFIRMED) == (200, None)


def test_an_account_claims_no_second_row(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None]
) -> None:
    configured("claim")
    invite(owner)
    suspended = invite(owner, email="suspended.person@acme.example", status="suspended")
    before = users(owner)
    assert sign_in(api, JOHN_OF_ACME, **CONFIRMED) == (200, None)
    assert sign_in(api, suspended, **CONFIRMED) == (403, "account_inactive")
    assert users(owner) == before


def test_a_user_to_whom_rows_refer_is_not_claimed(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None]
) -> None:
    configured("claim")
    user_id = invite(owner)
    owner.execute(
        "INSERT INTO public.support_tickets (client_id, user_id, subject, description)"
        " VALUES (%s, %s, 'of the invited', 'x')",
        [ACME, user_id],
    )
    before = users(owner)
    assert sign_in(api, uuid4(), **CONFIRMED) == (403, "not_provisioned")
    assert users(owner) == before


def test_the_first_request_may_be_any(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None]
) -> None:
    configured("claim")
    invite(owner)
    bearer = {"Authorization": f"Bearer {token(uuid4(), **CONFIRMED)}"}
    ticket = {"subject": "of the invited", "description": "x"}
    answer = api.call(None, "POST", "/v1/support-tickets", json=ticket, headers=bearer)
    assert answer.status_code == 201, answer.text


# --- administration ------------------------------------------------------------------------------


def test_an_invitation_is_made_extended_and_withdrawn(
    api: Api, owner: psycopg.Connection, configured: Callable[[str], None]
) -> None:
    configured("claim")
    body = {"email": EMAIL, "name": "New", "role": "client", "client_id": str(ACME)}
    until = {"invited_until": TOMORROW.isoformat()}

    def call(method: str, path: str, json: Any = None) -> Any:
        return api.call("admin", method, path, json=json)

    for wrong in (
        {"id": str(uuid4()), **until},
        {"invited_until": YESTERDAY.isoformat()},
        {"invited_until": "2035-01-01T00:00:00"},
        {"invited_until": 2051222400},
    ):
        assert call("POST", "/v1/users", body | wrong).status_code == 422
    made = call("POST", "/v1/users", body | until).json
    assert datetime.fromisoformat(made["invited_until"]) == TOMORROW
    path = f"/v1/users/{made['id']}"
    assert call("PATCH", path, {"invited_until": None}).status_code == 422
    later = {"invited_until": (TOMORROW + timedelta(days=1)).isoformat()}
    assert call("PATCH", path, later).status_code == 200
    assert call("DELETE", path).status_code == 204
    assert sign_in(api, uuid4(), **CONFIRMED) == (403, "not_provisioned")
    assert call("PATCH", path, {"status": "active"}).status_code == 200
    sub = uuid4()
    assert sign_in(api, sub, **CONFIRMED) == (200, None)
    # A second invitation would give the account away.
    assert call("PATCH", f"/v1/users/{sub}", later).status_code == 409
    assert call("PATCH", f"/v1/users/{JOHN_OF_ACME}", later).status_code == 409


# --- SQL as the api's login ----------------------------------------------------------------------

ATTACKER = uuid4()


def mac(message: str, key: str = IDENTITY_KEY) -> str:
    return hmac.digest(key.encode(), message.encode(), "sha256").hex()


def soon() -> int:
    """An expiry within the five minutes that the database accepts."""
    return int(time.time()) + 200


def message(expires: int) -> str:
    return f"claim|{ATTACKER}|{expires}|{EMAIL}"


def attacks(expires: int) -> dict[str, tuple[Any, Any, Any, Any]]:
    signature = mac(message(expires))
    return {
        "without a signature": (ATTACKER, expires, EMAIL, None),
        "with an invented signature": (ATTACKER, expires, EMAIL, "0" * 64),
        "signed with another key": (ATTACKER, expires, EMAIL, mac(message(expires), "x" * 64)),
        "signed for entering": (ATTACKER, expires, EMAIL, mac(f"{ATTACKER}|{expires}")),
        "signed for another sub": (uuid4(), expires, EMAIL, signature),
        "signed for another address": (ATTACKER, expires, f"x{EMAIL}", signature),
        "signed for another time": (ATTACKER, expires + 1, EMAIL, signature),
        "signed for an address in other case": (ATTACKER, expires, EMAIL.upper(), signature),
        "expired": (ATTACKER, 1000, EMAIL, mac(message(1000))),
        "without an expiry": (ATTACKER, None, EMAIL, signature),
        "without an address": (ATTACKER, expires, None, signature),
    }


CLAIM = "SELECT app.claim_invitation(%s::uuid, %s::bigint, %s::text, %s::text)"
ENTER = "SELECT * FROM app.enter(%s::uuid, %s::bigint, %s::text)"


@pytest.mark.parametrize("inside", [False, True], ids=["outside a request", "inside a request"])
@pytest.mark.parametrize("attack", attacks(0))
def test_injected_sql_claims_nothing(
    database: Urls, owner: psycopg.Connection, attack: str, inside: bool
) -> None:
    invite(owner)
    before = users(owner)
    with connected(database.api) as connection, connection.transaction(force_rollback=True):
        if inside:
            connection.execute(ENTER, signed_identity(JOHN_OF_ACME))
        with pytest.raises(psycopg.DatabaseError) as refused:
            connection.execute(CLAIM, attacks(soon())[attack])
    assert refused.value.sqlstate == "MS401"
    assert users(owner) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.users SET invited_until = now() + interval '1 day'",
        "UPDATE public.users SET id = gen_random_uuid() WHERE invited_until IS NOT NULL",
        "UPDATE public.users SET email = 'attacker@evil.example'",
        "SELECT app_private.is_signed('x', 0, 'x')",
    ],
)
def test_injected_sql_changes_no_invitation(
    database: Urls, owner: psycopg.Connection, statement: Any
) -> None:
    invite(owner)
    with connected(database.api) as connection, connection.transaction(force_rollback=True):
        connection.execute(ENTER, signed_identity(JOHN_OF_ACME))
        with pytest.raises(psycopg.DatabaseError) as refused:
            connection.execute(statement)
    assert refused.value.sqlstate == "42501"


@pytest.mark.parametrize(
    "change",
    [
        "invited_until = now() + interval '1 day'",
        "email = 'attacker@evil.example'",
        "role = 'admin'",
    ],
)
def test_injected_sql_that_takes_the_role_of_an_administrator_changes_no_invitation(
    database: Urls, owner: psycopg.Connection, change: Any
) -> None:
    invite(owner)
    before = users(owner)
    with connected(database.api) as connection, connection.transaction():
        connection.execute(ENTER, signed_identity(JOHN_OF_ACME))
        connection.execute("SET LOCAL ROLE masstock_admin")
        assert connection.execute(f"UPDATE public.users SET {change}").rowcount == 0
    assert users(owner) == before


def test_a_replayed_signature_claims_nothing_more(
    database: Urls, owner: psycopg.Connection
) -> None:
    invite(owner)
    expires = soon()
    good = (ATTACKER, expires, EMAIL, mac(message(expires)))
    with connected(database.api) as connection:
        assert connection.execute(CLAIM, good).fetchone() == (True,)
        after = users(owner)
        assert connection.execute(CLAIM, good).fetchone() == (False,)
    assert users(owner) == after


def test_of_many_claims_at_once_one_succeeds(database: Urls, owner: psycopg.Connection) -> None:
    invite(owner)

    def claim(sub: UUID) -> bool:
        with connected(database.api) as connection:
            expires = soon()
            signature = mac(f"claim|{sub}|{expires}|{EMAIL}")
            row = connection.execute(CLAIM, (sub, expires, EMAIL, signature)).fetchone()
            return bool(row and row[0])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, [uuid4() for _ in range(8)])) == 1
