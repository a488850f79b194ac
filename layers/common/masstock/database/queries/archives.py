"""Statements on archives and archive_parts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor
from masstock.database.queries.batch_results import SEVERAL
from masstock.errors import NotFound

# A part fails after so many claims.
MAX_ATTEMPTS = 5
# From a failed attempt to the next one. The sweep runs once a minute.
RETRY_SECONDS = 20
# Longer than ArchiveFunction can run, so that two builders of a part never overlap.
LEASE_SECONDS = 930

# --- as a tenant -------------------------------------------------------------------------------


def list_without_image(tx: Executor, execution_id: UUID, indices: list[int]) -> list[int]:
    """Positions in `indices` of the results that have no image."""
    rows = tx.fetch_all(
        """
        SELECT i.position - 1 AS position
        FROM unnest(%(indices)s::integer[]) WITH ORDINALITY AS i (batch_index, position)
        WHERE NOT EXISTS (
            SELECT FROM public.workflow_batch_results r
            WHERE r.execution_id = %(execution_id)s AND r.batch_index = i.batch_index
              AND r.status = 'completed' AND r.result_storage_path IS NOT NULL)
        ORDER BY i.position
        """,
        execution_id=execution_id,
        indices=indices,
    )
    return [row["position"] for row in rows]


def create_archive(
    tx: Executor, archive_id: UUID, execution_id: UUID, indices: list[int] | None
) -> bool:
    """Makes `archive_id` the archive of the execution, with its finished images, or those of them
    in `indices`. False if the present archive serves: it is being built, or has the same images.
    Raises NotFound, or SQLSTATE MS409 if there is no image."""
    row = tx.fetch_one(
        "SELECT app.create_archive(%(id)s, %(execution_id)s, %(indices)s) AS id",
        id=archive_id,
        execution_id=execution_id,
        indices=indices,
    )
    if row["id"] is None:
        raise NotFound
    return row["id"] == archive_id


class Part(TypedDict):
    """A ZIP file of an archive. `storage_path` and `size_bytes` are None until it is built."""

    part: int
    storage_path: str | None
    size_bytes: int | None


class Archive(TypedDict):
    """The archive of an execution. `state`: building, ready, failed or expired. `name` is the
    execution's."""

    id: UUID
    execution_id: UUID
    name: str | None
    state: str
    images: int
    created_at: datetime
    expires_at: datetime
    parts: list[Part]


def fetch_archive(tx: Executor, execution_id: UUID) -> Archive:
    """The archive of an execution; raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT a.id, a.execution_id, app.archive_state(a.id) AS state, a.images, a.created_at,
            a.expires_at,
            (SELECT e.name FROM public.workflow_executions e WHERE e.id = a.execution_id) AS name,
            (SELECT json_agg(json_build_object('part', p.part, 'storage_path', p.storage_path,
                                               'size_bytes', p.size_bytes) ORDER BY p.part)
             FROM public.archive_parts p WHERE p.archive_id = a.id) AS parts
        FROM public.archives a WHERE a.execution_id = %(execution_id)s
        """,
        execution_id=execution_id,
    )
    return cast(Archive, row)


# --- as the builder and the sweep --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartClaim:
    """The right to build one part until the lease ends. `attempt` is the fence of its writes."""

    archive_id: UUID
    part: int
    attempt: int
    execution_id: UUID
    client_id: UUID
    batch_indices: list[int]


def claim_part(tx: Executor, archive_id: UUID, part: int) -> PartClaim | None:
    """Claims a part. None if it is finished or expired, if another builder has it, or if its next
    attempt is not due yet."""
    rows = tx.fetch_all(
        """
        UPDATE public.archive_parts p
        SET attempts = p.attempts + 1, due_at = now() + make_interval(secs => %(lease_seconds)s)
        FROM public.archives a
        WHERE p.archive_id = %(archive_id)s AND p.part = %(part)s AND a.id = p.archive_id
          AND a.expires_at > now() AND p.completed_at IS NULL AND p.failed_at IS NULL
          AND (p.attempts = 0 OR p.due_at <= now()) AND p.attempts < %(max_attempts)s
        RETURNING p.archive_id, p.part, p.attempts AS attempt, a.execution_id, p.client_id,
            p.batch_indices
        """,
        archive_id=archive_id,
        part=part,
        lease_seconds=LEASE_SECONDS,
        max_attempts=MAX_ATTEMPTS,
    )
    return PartClaim(**rows[0]) if rows else None


class ArchivedImage(TypedDict):
    """What a part contains of one result."""

    batch_index: int
    prompt_index: int
    image_index: int
    prompt_text: str
    custom_id: str | None
    prompt_metadata: dict[str, Any] | None
    seed: int | None
    model: str | None
    mime_type: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    cost_microusd: int | None
    image_sha256: str | None
    result_storage_path: str
    completed_at: datetime


def list_images(tx: Executor, claim: PartClaim) -> list[ArchivedImage]:
    """The images of a part, in order."""
    rows = tx.fetch_all(
        """
        SELECT r.batch_index, r.prompt_index, r.image_index, r.prompt_text, r.custom_id,
            r.prompt_metadata, r.seed, r.model, r.mime_type, r.width, r.height, r.size_bytes,
            r.cost_microusd, r.image_sha256, r.result_storage_path, r.completed_at
        FROM public.workflow_batch_results r
        WHERE r.execution_id = %(execution_id)s AND r.batch_index = ANY (%(batch_indices)s)
          AND r.status = 'completed' AND r.result_storage_path IS NOT NULL
        ORDER BY r.batch_index
        """,
        execution_id=claim.execution_id,
        batch_indices=claim.batch_indices,
    )
    return cast(list[ArchivedImage], rows)


class NamedResult(TypedDict):
    """What the file name of a result is made of. `several`: its prompt has several images."""

    batch_index: int
    prompt_index: int
    image_index: int
    custom_id: str | None
    several: bool


_NAMES: LiteralString = "SELECT p.batch_index, p.prompt_index, p.image_index, p.custom_id, "
_OF_ARCHIVE: LiteralString = """
    FROM public.workflow_batch_results p
    JOIN (
        SELECT unnest(a.batch_indices) AS batch_index FROM public.archive_parts a
        WHERE a.archive_id = %(archive_id)s
    ) i ON i.batch_index = p.batch_index
    WHERE p.execution_id = %(execution_id)s
    ORDER BY p.batch_index
"""


def list_names(tx: Executor, claim: PartClaim) -> list[NamedResult]:
    """The results of all parts of the archive, in order. A file name is unique among them."""
    rows = tx.fetch_all(
        _NAMES + SEVERAL + _OF_ARCHIVE,
        execution_id=claim.execution_id,
        archive_id=claim.archive_id,
    )
    return cast(list[NamedResult], rows)


def complete_part(tx: Executor, claim: PartClaim, storage_path: str, size_bytes: int) -> bool:
    """Publishes a part. False if a later attempt has it, or if the archive is gone or expired."""
    return bool(
        tx.fetch_all(
            """
            UPDATE public.archive_parts p
            SET completed_at = now(), storage_path = %(storage_path)s, size_bytes = %(size_bytes)s
            FROM public.archives a
            WHERE p.archive_id = %(archive_id)s AND p.part = %(part)s AND p.attempts = %(attempt)s
              AND p.completed_at IS NULL AND p.failed_at IS NULL
              AND a.id = p.archive_id AND a.expires_at > now()
            RETURNING p.part
            """,
            archive_id=claim.archive_id,
            part=claim.part,
            attempt=claim.attempt,
            storage_path=storage_path,
            size_bytes=size_bytes,
        )
    )


def release_part(tx: Executor, claim: PartClaim) -> None:
    """Ends the lease of an attempt that failed, so that the sweep soon starts the next one."""
    tx.fetch_all(
        """
        UPDATE public.archive_parts
        SET due_at = now() + make_interval(secs => %(seconds)s)
        WHERE archive_id = %(archive_id)s AND part = %(part)s AND attempts = %(attempt)s
          AND completed_at IS NULL AND failed_at IS NULL
        """,
        archive_id=claim.archive_id,
        part=claim.part,
        attempt=claim.attempt,
        seconds=RETRY_SECONDS * (claim.attempt < MAX_ATTEMPTS),
    )


class DuePart(TypedDict):
    """A part that needs a builder."""

    archive_id: UUID
    part: int


def list_due_parts(tx: Executor, limit: int) -> list[DuePart]:
    """Parts that need a builder, those that are due longest first."""
    rows = tx.fetch_all(
        """
        SELECT p.archive_id, p.part
        FROM public.archive_parts p JOIN public.archives a ON a.id = p.archive_id
        WHERE p.completed_at IS NULL AND p.failed_at IS NULL AND p.due_at <= now()
          AND p.attempts < %(max_attempts)s AND a.expires_at > now()
        ORDER BY p.due_at LIMIT %(limit)s
        """,
        limit=limit,
        max_attempts=MAX_ATTEMPTS,
    )
    return cast(list[DuePart], rows)


def fail_hopeless_parts(tx: Executor) -> int:
    """Marks the parts as failed whose last attempt ended without success. Returns their number.
    Those of expired archives stay as they are: their images are gone."""
    return len(
        tx.fetch_all(
            """
            UPDATE public.archive_parts p SET failed_at = now()
            FROM public.archives a
            WHERE p.completed_at IS NULL AND p.failed_at IS NULL AND p.due_at <= now()
              AND p.attempts >= %(max_attempts)s
              AND a.id = p.archive_id AND a.expires_at > now()
            RETURNING p.part
            """,
            max_attempts=MAX_ATTEMPTS,
        )
    )
