"""GET /v1/results: the results of all executions, and the search for words in their prompts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import Api

TIME = datetime(2026, 11, 1, tzinfo=UTC)
USERS = {ACME: JOHN_OF_ACME, GLOBEX: JANE_OF_GLOBEX}


def insert(
    database: Urls,
    prompts: list[str],
    *,
    age: int = 0,
    client_id: UUID = ACME,
    workflow_id: UUID = WORKFLOW,
    **columns: Any,
) -> UUID:
    """An ended execution of these prompts, made `age` minutes before TIME."""
    execution_id = uuid4()
    values = {"status": "completed", "model": "m", "custom_id": None, **columns}
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, status, input_data)"
            " VALUES (%s, %s, %s, %s, 'completed', '{}')",
            [execution_id, workflow_id, client_id, USERS[client_id]],
        )
        connection.execute(
            "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
            " prompt_text, created_at, status, model, custom_id)"
            " SELECT %s, %s, p.i - 1, p.prompt, %s, %s, %s, %s"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS p (prompt, i)",
            [
                *(execution_id, client_id, TIME - timedelta(minutes=age)),
                *(values["status"], values["model"], values["custom_id"], prompts),
            ],
        )
    return execution_id


def pages(api: Api, who: str = "client_a", **query: Any) -> list[tuple[UUID, int]]:
    """(execution_id, batch_index) of all results, read page by page."""
    found: list[tuple[UUID, int]] = []
    while True:
        answer = api.call(who, "GET", "/v1/results", query_string=query)
        assert answer.status_code == 200, answer.text
        body = answer.json or {}
        assert len(body["items"]) <= query.get("limit", 50)
        found += [(UUID(item["execution_id"]), item["batch_index"]) for item in body["items"]]
        if body["next_cursor"] is None:
            return found
        query["cursor"] = body["next_cursor"]


def prompts(api: Api, who: str = "client_a", **query: Any) -> set[str]:
    answer = api.call(who, "GET", "/v1/results", query_string=query)
    assert answer.status_code == 200, answer.text
    return {item["prompt_text"] for item in (answer.json or {})["items"]}


def sweep_words(database: Urls) -> None:
    with connected(database.superuser) as connection:
        while connection.execute("SELECT app.index_prompts()").fetchone() == (True,):
            pass


@pytest.fixture(scope="module")
def batches(api: Api, database: Urls) -> dict[str, UUID]:
    """Five executions of Acme and one of Globex, the newest first."""
    workflow = uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name) VALUES (%s, 'another')", [workflow]
        )
    return {
        "newest": insert(database, [f"a red fox {n}" for n in range(4)]),
        # At the same time.
        "twin": insert(database, [f"a blue fox {n}" for n in range(3)]),
        "broken": insert(database, ["a red hen"], age=1, status="failed"),
        "named": insert(database, ["a green hen"], age=2, custom_id="sku-1", model="other"),
        "elsewhere": insert(database, ["a red owl", "a fox"], age=3, workflow_id=workflow),
        "globex": insert(database, ["a red fox"], age=1, client_id=GLOBEX),
        "workflow": workflow,
    }


@pytest.mark.parametrize("limit", [1, 3, 200])
@pytest.mark.parametrize("query", [{}, {"q": "fox"}, {"q": "a"}, {"q": "red fox"}])
def test_all_pages_are_all_results_newest_first(
    api: Api, database: Urls, batches: dict[str, UUID], query: dict[str, str], limit: int
) -> None:
    words = query.get("q", "").split()
    with connected(database.superuser) as connection:
        rows = connection.execute(
            "SELECT execution_id, batch_index, prompt_text FROM public.workflow_batch_results"
            " WHERE client_id = %s ORDER BY created_at DESC, execution_id DESC, batch_index DESC",
            [ACME],
        ).fetchall()
    expected = [row[:2] for row in rows if set(words) <= set(row[2].lower().split())]
    assert expected
    assert pages(api, limit=limit, **query) == expected


@pytest.mark.parametrize("words", [{}, {"q": "a"}])
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"status": "failed"}, ["broken"]),
        ({"custom_id": "sku-1"}, ["named"]),
        ({"model": "other"}, ["named"]),
        ({"workflow_id": "workflow"}, ["elsewhere"]),
        ({"execution_id": "broken"}, ["broken"]),
        ({"from": "2026-10-31T23:59:00Z", "to": "2026-11-01T00:00:00Z"}, ["broken"]),
        ({"to": "2026-10-31T23:58:00Z", "from": "2026-10-31T23:00:00Z"}, ["elsewhere"]),
        ({"custom_id": "sku-1", "status": "failed"}, []),
        ({"execution_id": "globex"}, []),
        ({"client_id": str(GLOBEX)}, []),
    ],
)
def test_filters(
    api: Api,
    batches: dict[str, UUID],
    query: dict[str, str],
    names: list[str],
    words: dict[str, str],
) -> None:
    values = {name: str(batches.get(value, value)) for name, value in query.items()}
    found = {execution_id for execution_id, _ in pages(api, **values, **words)}
    assert found == {batches[name] for name in names}


def test_an_administrator_sees_every_client_and_names_one_to_search(
    api: Api, batches: dict[str, UUID]
) -> None:
    assert {batches["newest"], batches["globex"]} <= {e for e, _ in pages(api, "admin", limit=200)}
    answer = api.call("admin", "GET", "/v1/results", query_string={"q": "fox"})
    assert answer.status_code == 422
    assert (answer.json or {})["errors"][0]["pointer"] == "client_id"
    assert pages(api, "admin", q="red fox", client_id=str(GLOBEX)) == [(batches["globex"], 0)]


def test_nobody_finds_the_prompts_of_another_client(api: Api, batches: dict[str, UUID]) -> None:
    assert pages(api, "client_b", q="fox") == [(batches["globex"], 0)]
    assert pages(api, "client_b", q="hen", client_id=str(ACME)) == []
    assert batches["globex"] not in {e for e, _ in pages(api, limit=200)}


def test_a_cursor_of_another_list_is_refused(api: Api, batches: dict[str, UUID]) -> None:
    answer = api.call("client_a", "GET", "/v1/executions", query_string={"limit": 1})
    cursor = (answer.json or {})["next_cursor"]
    answer = api.call("client_a", "GET", "/v1/results", query_string={"cursor": cursor})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("prompt", "found_by", "not_by"),
    [
        ("red/blue iso-400", ["red", "BLUE", "iso 400", "iso-400", "red/blue"], ["redblue", "40"]),
        (
            "see https://example.com/a_b?c=d#e",
            ["https://example.com/a_b?c=d#e", "example.com", "a b"],
            ["https://example.com/x"],
        ),
        ("<lora:watercolor:0.8>", ["lora watercolor", "watercolor", "0.8"], ["water"]),
        ("Café Ünïcode STRASSE", ["cafe", "CAFÉ", "unicode", "strasse"], ["caf"]),
        ("猫が好き、犬", ["猫", "好き", "犬"], ["鳥"]),
        ("привет «мир»", ["Привет", "мир"], ["при"]),
        ("don’t “quote” it's", ["don't", "quote", "it's"], ["dont"]),
        ("a\tb\nc\u00a0d", ["b c", "d"], []),
        ("4k 16:9 2+2", ["4K", "16:9", "2"], ["9:1"]),
    ],
)
def test_words_are_found_without_their_punctuation(
    api: Api, database: Urls, prompt: str, found_by: list[str], not_by: list[str]
) -> None:
    execution_id = str(insert(database, [prompt]))
    for text in found_by:
        assert prompts(api, q=text, execution_id=execution_id) == {prompt}, text
    for text in not_by:
        assert prompts(api, q=text, execution_id=execution_id) == set(), text


@pytest.mark.parametrize("text", ["!?", " ", "–", "x" * 201, ""])
def test_a_search_needs_a_word_of_at_most_200_characters(api: Api, text: str) -> None:
    assert api.call("client_a", "GET", "/v1/results", query_string={"q": text}).status_code == 422


# --- what is written ------------------------------------------------------------------------------


def words_of(database: Urls, execution_id: UUID) -> set[str]:
    with connected(database.superuser) as connection:
        query = "SELECT word FROM app_private.prompt_words WHERE execution_id = %s"
        return {word for (word,) in connection.execute(query, [execution_id])}


def test_an_edited_prompt_is_found_by_its_new_words(api: Api, database: Urls) -> None:
    execution_id = insert(database, ["an old word", "a second one"])
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET prompt_text = 'a new word'"
            " WHERE execution_id = %s AND batch_index = 0",
            [execution_id],
        )
    sweep_words(database)
    assert prompts(api, q="new", execution_id=str(execution_id)) == {"a new word"}
    assert prompts(api, q="old", execution_id=str(execution_id)) == set()
    assert words_of(database, execution_id) == {"a", "new", "word", "second", "one"}


def test_a_long_list_is_found_after_the_next_sweep(api: Api, database: Urls) -> None:
    execution_id = insert(database, ["needle " + "x" * 9000] * 120)
    assert prompts(api, q="needle", execution_id=str(execution_id)) == set()
    sweep_words(database)
    assert len(pages(api, q="needle", execution_id=str(execution_id))) == 120


def test_rows_that_are_inserted_later_are_found_too(api: Api, database: Urls) -> None:
    execution_id = insert(database, ["one", "two"])
    with connected(database.superuser) as connection:
        for index in (2, 3):
            connection.execute(
                "INSERT INTO public.workflow_batch_results"
                " (execution_id, client_id, batch_index, prompt_text, created_at)"
                " VALUES (%s, %s, %s, 'one', %s)",
                [execution_id, ACME, index, TIME],
            )
    assert [i for _, i in pages(api, q="one", execution_id=str(execution_id))] == [3, 2, 0]


def test_the_words_of_a_deleted_execution_are_deleted(api: Api, database: Urls) -> None:
    execution_id = insert(database, ["a secret"])
    assert words_of(database, execution_id)
    answer = api.call("client_a", "DELETE", f"/v1/executions/{execution_id}")
    assert answer.status_code == 204
    assert words_of(database, execution_id) == set()


def test_a_search_of_rare_pairs_goes_on_in_the_next_page(api: Api, database: Urls) -> None:
    """Both words are common, but no prompt has both."""
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO app_private.prompt_words"
            " SELECT %s, w, %s::timestamptz - make_interval(secs => i), gen_random_uuid(), '{0}'"
            " FROM generate_series(1, 20001) i, unnest(ARRAY['even', 'odd']) w"
            " WHERE (i %% 2 = 0) = (w = 'even') OR i > 20000",
            [ACME, TIME],
        )
        connection.execute(
            "INSERT INTO app_private.prompt_words SELECT %s, 'every', %s::timestamptz -"
            " make_interval(secs => i), gen_random_uuid(), '{0}' FROM generate_series(1, 20500) i",
            [ACME, TIME],
        )
    answer = api.call("client_a", "GET", "/v1/results", query_string={"q": "every"})
    body = answer.json or {}
    assert body["items"] == []
    assert body["next_cursor"] is not None
    assert pages(api, q="every") == []
    assert pages(api, q="even odd") == []
