"""What a client used: sums of the spend ledger."""

from datetime import date
from uuid import UUID

from masstock.database.connection import Executor


def fetch_usage(
    tx: Executor, client_id: UUID | None, since: date | None, until: date | None
) -> str:
    """The usage of a client as JSON, by default of the caller's. Contains months that begin in
    [since, until); the budget is that of the current month. Raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT row_to_json(x)::text AS json FROM (
            SELECT c.client_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month,
                b.monthly_budget_microusd, b.spent_microusd, b.reserved_microusd,
                -- greatest() alone would turn NULL, no limit, into 0.
                CASE WHEN b.monthly_budget_microusd IS NOT NULL THEN greatest(0,
                    b.monthly_budget_microusd - b.spent_microusd - b.reserved_microusd)
                END AS budget_left_microusd, (
                SELECT coalesce(json_agg(row_to_json(i)), '[]') FROM (
                    SELECT u.month, u.workflow_id, w.name AS workflow_name, u.model, u.tier,
                        u.images, u.cost_microusd
                    FROM (
                        SELECT l.month, l.workflow_id, l.model, l.tier,
                            sum(coalesce(l.images, (l.batch_index IS NOT NULL)::integer))::bigint
                                AS images,
                            sum(l.charged_microusd)::bigint AS cost_microusd
                        FROM public.spend_ledger l
                        WHERE l.client_id = c.client_id
                          AND (%(since)s::date IS NULL OR l.month >= %(since)s)
                          AND (%(until)s::date IS NULL OR l.month < %(until)s)
                        GROUP BY l.month, l.workflow_id, l.model, l.tier
                    ) u LEFT JOIN app.workflow_names w ON w.id = u.workflow_id
                    WHERE u.images > 0 OR u.cost_microusd > 0
                    ORDER BY u.month DESC, u.cost_microusd DESC, w.name, u.model, u.tier
                ) i) AS items
            FROM (SELECT coalesce(%(client_id)s::uuid, (SELECT app.client_id())) AS client_id) c,
                LATERAL app.fetch_budget(c.client_id) b
        ) x
        """,
        client_id=client_id,
        since=since,
        until=until,
    )
    return row["json"]
