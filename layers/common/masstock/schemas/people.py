"""Bodies about users and clients. `masstock.schemas.responses` has the other answers."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from masstock.schemas.fields import AccountStatus, Role
from masstock.schemas.resource import Count, CreatedAt, Resource, UpdatedAt


class Profile(Resource):
    """The caller's account and client."""

    id: UUID
    email: str
    name: str
    role: Role
    status: AccountStatus
    client_id: UUID | None = Field(description="Null for administrators.")
    client_name: str | None = Field(description="Null for administrators.")
    client_email: str | None = Field(description="Null for administrators.")


class User(Resource):
    """An account."""

    id: UUID
    email: str
    name: str
    role: Role
    status: AccountStatus
    client_id: UUID | None = Field(description="Null for administrators.")
    created_at: CreatedAt
    updated_at: UpdatedAt
    last_login: datetime | None = Field(
        description="When the newest token was first used; null if no token was used yet."
    )
    invited_until: datetime | None = Field(
        description="Until when the invitation can be claimed. Null without an invitation, and "
        "after the claim."
    )


# Not `Client`: generated clients have a class of that name.
class ClientOrganization(Resource):
    """A client organization."""

    id: UUID
    name: str
    email: str
    status: AccountStatus
    created_at: CreatedAt
    updated_at: UpdatedAt
    monthly_budget_microusd: Count | None = Field(
        description="Limit of the cost per calendar month (UTC), in millionths of a US dollar; "
        "null for no limit."
    )
    webhook_url: str | None = Field(description="URL that gets a message when an execution ends.")
    webhook_secret_version: Count = Field(description="Number of the current secret, from 1.")
    retention_days: Count | None = Field(
        description="Days from the end of an execution until its images are removed; null keeps "
        "them."
    )


class WebhookSecret(Resource):
    """The secret that signs a client's webhooks."""

    client_id: UUID
    version: Count = Field(description="Number of the current secret, from 1.")
    secret: str = Field(
        description="The secret for a Standard Webhooks library.",
        examples=["whsec_" + "A" * 43 + "="],
    )
    overlaps_until: datetime | None = Field(
        description="Until when deliveries also carry the signature of the replaced secret."
    )
