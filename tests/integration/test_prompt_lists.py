"""Templates and files over HTTP: the stored prompts, and the problems."""

import json
from typing import Any

import boto3
import pytest

from tests.support.demo_data import WORKFLOW
from tests.support.handler import REGION, UPLOADS_BUCKET, Api

SUBMISSION = {"workflow_id": str(WORKFLOW), "api_key": "a-key-of-mine"}
TEMPLATE = "A {product} on {surface}"


def uploaded(api: Api, content: bytes, content_type: str, who: str = "client_a") -> str:
    """The key of a file, which the form would upload."""
    body = {"kind": "prompts", "content_type": content_type}
    answer = api.call(who, "POST", "/v1/uploads", json=body)
    form = json.loads(answer.text)
    assert answer.status_code == 201, answer.text
    assert form["fields"]["Content-Type"] == content_type
    s3 = boto3.client("s3", region_name=REGION)
    s3.put_object(Bucket=UPLOADS_BUCKET, Key=form["key"], Body=content)
    return form["key"]


def submit(api: Api, who: str = "client_a", **members: Any) -> list[Any]:
    """The stored prompts."""
    answer = api.call(who, "POST", "/v1/executions", json=SUBMISSION | members)
    assert answer.status_code == 202, answer.text
    execution = api.call(who, "GET", answer.headers["Location"])
    return json.loads(execution.text)["input_data"]["prompts"]


def refused(api: Api, who: str = "client_a", **members: Any) -> list[tuple[str, str]]:
    answer = api.call(who, "POST", "/v1/executions", json=SUBMISSION | members)
    assert answer.status_code == 422, answer.text
    return [(error["pointer"], error["detail"]) for error in json.loads(answer.text)["errors"]]


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (
            b'\xef\xbb\xbfprompt;custom_id;note\r\n"a ""cat""\n{note}";007;NA\r\n',
            "text/csv",
            [{"prompt": 'a "cat"\nNA', "custom_id": "007"}],
        ),
        (b"# one, two\r\n16:9\r\n", "text/plain", [{"prompt": "# one, two"}, {"prompt": "16:9"}]),
        (
            b'"one"\n{"prompt": "two", "custom_id": "2"}',
            "application/jsonl",
            ["one", {"prompt": "two", "custom_id": "2"}],
        ),
    ],
)
def test_a_file_becomes_prompts(
    api: Api, content: bytes, content_type: str, expected: list[Any]
) -> None:
    assert submit(api, prompts_key=uploaded(api, content, content_type)) == expected


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b"product\tsurface\tx\nmug\toak\t1\n", "text/csv", {"prompt": "A mug on oak"}),
        (
            b'{"product": "mug", "surface": 7, "custom_id": "1"}',
            "application/jsonl",
            {"prompt": "A mug on 7", "custom_id": "1"},
        ),
    ],
)
def test_a_file_can_be_the_rows_of_a_template(
    api: Api, content: bytes, content_type: str, expected: Any
) -> None:
    key = uploaded(api, content, content_type)
    assert submit(api, template=TEMPLATE, prompts_key=key) == [expected]


def test_the_lines_of_a_text_are_the_variable_prompt(api: Api) -> None:
    key = uploaded(api, b"a cat\na dog\n", "text/plain")
    assert submit(api, template="{prompt}, in oil", prompts_key=key) == [
        {"prompt": "a cat, in oil"},
        {"prompt": "a dog, in oil"},
    ]


def test_a_dry_run_shows_count_and_first_prompts_of_a_product(api: Api) -> None:
    rows = [
        {"product": product, "surface": surface}
        for product, surface in zip("abc", ["oak", "slate", "oak"], strict=True)
    ]
    body = SUBMISSION | {"template": TEMPLATE, "rows": rows, "combine": "product"}
    answer = api.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    shown = json.loads(answer.text)
    assert shown["prompts"] == 6
    assert shown["sample_prompts"] == [
        "A a on oak",
        "A a on slate",
        "A b on oak",
        "A b on slate",
        "A c on oak",
    ]
    assert shown["estimate_microusd"] == sum(shown["estimate_parts"].values()) > 0


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [("/prompts", "Send one of prompts, prompts_key, and rows with a template.")]),
        (
            {"prompts": ["x"], "rows": [{"x": 1}]},
            [
                ("/prompts", "Send one of prompts, prompts_key, and rows with a template."),
                ("/template", "Rows need a template."),
            ],
        ),
        (
            {"prompts": ["x"], "combine": "product"},
            [("/combine", "Only rows of a template can be combined.")],
        ),
        (
            {"prompts": ["x"], "template": "{prompt}"},
            [("/template", "A template needs rows or prompts_key.")],
        ),
        (
            {"template": TEMPLATE, "rows": [{"product": "a", "surface": "b"}, {"product": "c"}]},
            [("/rows/1/surface", "The row has no value for this variable.")],
        ),
        (
            {
                "template": "{x}",
                "rows": [{"x": "a", "custom_id": "1"}, {"x": "b", "custom_id": "1"}],
            },
            [("/rows/1/custom_id", "Another prompt of this execution has the same custom_id.")],
        ),
        ({"template": "{", "rows": [{}]}, [("/template", "Character 1 is a single {; double it.")]),
        (
            {"template": "x", "rows": []},
            [("/rows", "List should have at least 1 item after validation, not 0")],
        ),
    ],
)
def test_a_wrong_list_is_refused(
    api: Api, members: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert refused(api, **members) == expected


def test_a_repeated_id_in_a_file_names_both_lines(api: Api) -> None:
    content = b'prompt,custom_id\n"two\nlines",a\nx,b\ny,a\n'
    key = uploaded(api, content, "text/csv")
    assert refused(api, prompts_key=key) == [
        ("/prompts_key", 'Line 5: custom_id "a" repeats line 2.')
    ]


def test_what_the_model_lacks_is_named_with_its_line_or_row(api: Api) -> None:
    key = uploaded(api, b"prompt,aspect_ratio\na,16:9\n\nb,7:3\n", "text/csv")
    [(pointer, detail)] = refused(api, prompts_key=key)
    assert pointer == "/prompts_key"
    assert detail.startswith("Line 4: aspect_ratio: gemini-2.5-flash-image supports 1:1,")
    rows = [{"x": "a"}, {"x": "b", "aspect_ratio": "7:3"}]
    assert refused(api, template="{x}", rows=rows)[0][0] == "/rows/1/aspect_ratio"


def test_images_of_a_file_are_counted(api: Api) -> None:
    key = uploaded(api, b"prompt,images\na,8\nb,\nc,3\n", "text/csv")
    body = SUBMISSION | {"prompts_key": key, "images_per_prompt": 2}
    answer = api.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    shown = json.loads(answer.text)
    assert (shown["prompts"], shown["images"]) == (3, 13)


def test_an_unknown_field_of_a_line_is_named(api: Api) -> None:
    content = b'{"prompt": "a", "colour": "red"}\n'
    [(pointer, detail)] = refused(api, prompts_key=uploaded(api, content, "application/jsonl"))
    assert pointer == "/prompts_key"
    assert detail.startswith("Line 1: colour: There is no such field")


def test_a_list_over_the_workflows_limit_is_refused(api: Api) -> None:
    key = uploaded(api, b"x\n" * 101, "text/plain")
    assert refused(api, prompts_key=key) == [
        ("/prompts", "This workflow takes at most 100 prompts; there are 101.")
    ]


def test_another_clients_file_does_not_exist(api: Api) -> None:
    key = uploaded(api, b"a secret prompt\n", "text/plain")
    for members in ({}, {"template": "{prompt}"}):
        assert refused(api, "client_b", prompts_key=key, **members) == [
            ("/prompts_key", "Send the key of a list of prompts that you have uploaded.")
        ]


@pytest.mark.parametrize(
    "body", [{"content_type": "text/csv"}, {"kind": "prompts", "content_type": "image/png"}]
)
def test_the_type_of_an_upload_suits_its_kind(api: Api, body: dict[str, str]) -> None:
    answer = api.call("client_a", "POST", "/v1/uploads", json=body)
    assert answer.status_code == 422
    assert json.loads(answer.text)["errors"][0]["pointer"] == "/content_type"


def test_a_key_of_another_format_is_no_list(api: Api) -> None:
    key = uploaded(api, b"x\n", "text/plain").replace(".txt", ".html")
    assert refused(api, prompts_key=key)[0][0] == "/prompts_key"
