"""Reads the prompts of a submission."""

import re
from collections.abc import Iterator
from uuid import UUID

from masstock.errors import FieldError, ValidationFailed
from masstock.schemas.requests import ExecutionCreate
from masstock.services.storage import ObjectMissing, Uploads
from masstock_api.prompt_lists import json_lines, templates
from masstock_api.prompt_lists.csv_files import read_csv
from masstock_api.prompt_lists.places import FILE, Places, PromptList, refuse, validated
from masstock_api.prompt_lists.templates import Template
from masstock_api.prompt_lists.text_files import read_text

PROMPTS_KEY = re.compile(r"[0-9a-f-]{36}/prompts/[0-9a-f-]{36}\.(jsonl|csv|txt)")
IN_BODY = Places("/prompts")
IN_ROWS = Places("/rows")


def read_prompts(submission: ExecutionCreate, client_id: UUID, uploads: Uploads) -> PromptList:
    """The prompts of the body, of the uploaded list, or made by the template. Raises
    ValidationFailed."""
    refuse(_contradictions(submission))
    template = None if submission.template is None else templates.parse(submission.template)
    combined = submission.combine == "product"
    if submission.prompts is not None:
        return PromptList(submission.prompts, IN_BODY)
    if submission.prompts_key is not None:
        key = submission.prompts_key
        found = _read_file(key, client_id, uploads, template, combined=combined)
        if not found.prompts:
            raise ValidationFailed([FieldError(FILE, "The list is empty.")])
        return found
    assert template is not None
    assert submission.rows is not None
    templates.check_rows(template, submission.rows, IN_ROWS, combined=combined)
    return templates.expand(template, submission.rows, IN_ROWS, combined=combined)


def _contradictions(submission: ExecutionCreate) -> Iterator[FieldError]:
    """Missing members, and members that name more than one list."""
    lists = (submission.prompts, submission.prompts_key, submission.rows)
    if sum(value is not None for value in lists) != 1:
        detail = "Send one of prompts, prompts_key, and rows with a template."
        yield FieldError("/prompts", detail)
    if submission.template is None:
        if submission.rows is not None:
            yield FieldError("/template", "Rows need a template.")
        if submission.combine == "product":
            yield FieldError("/combine", "Only rows of a template can be combined.")
    elif submission.prompts is not None:
        yield FieldError("/template", "A template needs rows or prompts_key.")


def _read_file(
    key: str, client_id: UUID, uploads: Uploads, template: Template | None, *, combined: bool
) -> PromptList:
    try:
        kind = PROMPTS_KEY.fullmatch(key)
        if kind is None or not key.startswith(f"{client_id}/"):
            raise ObjectMissing
        content = uploads.read_prompts(key)
    except ObjectMissing as error:
        detail = "Send the key of a list of prompts that you have uploaded."
        raise ValidationFailed([FieldError(FILE, detail)]) from error
    if kind[1] == "jsonl" and template is None:
        return json_lines.read_prompts(content)
    if kind[1] == "jsonl" and template is not None:
        rows = json_lines.read_rows(content, template, combined=combined)
        return templates.expand(template, rows.members, rows.places, combined=combined)
    if kind[1] == "csv":
        rows = read_csv(content, None if template is None else template.variables)
    else:
        rows = read_text(content)
    if template is None:
        return validated(rows.members, rows.places)
    templates.check_rows(template, rows.members, rows.places, combined=combined)
    return templates.expand(template, rows.members, rows.places, combined=combined)
