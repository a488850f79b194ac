"""The schema document's two reports. Without a period a report reads stored counts. With a period
it reads the executions that were created in the period. The results equal those of the document's
queries."""

from datetime import datetime

from masstock.database.connection import Executor


def report_clients(tx: Executor) -> str:
    """The report "Execution Success Rate by Client" as JSON."""
    [row] = tx.fetch_all(
        """
        SELECT coalesce(json_agg(row_to_json(x)), '[]')::text AS json FROM (
            SELECT c.name AS client_name, k.total::bigint AS total_executions,
                k.successful::bigint AS successful, k.failed::bigint AS failed,
                round(k.successful / nullif(k.total, 0) * 100, 2) AS success_rate_percent
            FROM (
                SELECT client_id, sum(executions) AS total,
                    coalesce(sum(executions) FILTER (WHERE status = 'completed'), 0) AS successful,
                    coalesce(sum(executions) FILTER (WHERE status = 'failed'), 0) AS failed
                FROM app.execution_counts WHERE client_id IS NOT NULL
                GROUP BY client_id HAVING sum(executions) > 0
            ) k
            JOIN public.clients c ON c.id = k.client_id
            ORDER BY total_executions DESC, c.name, c.id
        ) x
        """
    )
    return row["json"]


def report_clients_between(tx: Executor, since: datetime | None, until: datetime | None) -> str:
    """`report_clients` of the executions created in [since, until)."""
    [row] = tx.fetch_all(
        """
        SELECT coalesce(json_agg(row_to_json(x)), '[]')::text AS json FROM (
            SELECT c.name AS client_name, count(e.id) AS total_executions,
                count(CASE WHEN e.status = 'completed' THEN 1 END) AS successful,
                count(CASE WHEN e.status = 'failed' THEN 1 END) AS failed,
                round(count(CASE WHEN e.status = 'completed' THEN 1 END)::numeric
                    / nullif(count(e.id), 0) * 100, 2) AS success_rate_percent
            FROM public.workflow_executions e
            JOIN public.clients c ON e.client_id = c.id
            WHERE (%(since)s::timestamptz IS NULL OR e.created_at >= %(since)s)
              AND (%(until)s::timestamptz IS NULL OR e.created_at < %(until)s)
            GROUP BY c.id, c.name
            ORDER BY total_executions DESC, c.name, c.id
        ) x
        """,
        since=since,
        until=until,
    )
    return row["json"]


def report_workflows(tx: Executor) -> str:
    """The report "Top Workflows by Usage" as JSON, with at most ten workflows."""
    [row] = tx.fetch_all(
        """
        SELECT coalesce(json_agg(row_to_json(x)), '[]')::text AS json FROM (
            SELECT w.name AS workflow_name, coalesce(k.total, 0)::bigint AS execution_count,
                k.seconds / nullif(k.durations, 0) AS avg_duration_seconds,
                coalesce(k.successful, 0)::bigint AS successful_count
            FROM public.workflows w
            LEFT JOIN (
                SELECT workflow_id, sum(executions) AS total, sum(durations) AS durations,
                    sum(duration_seconds) AS seconds,
                    sum(executions) FILTER (WHERE status = 'completed') AS successful
                FROM app.execution_counts WHERE workflow_id IS NOT NULL GROUP BY workflow_id
            ) k ON k.workflow_id = w.id
            ORDER BY execution_count DESC, w.name, w.id
            LIMIT 10
        ) x
        """
    )
    return row["json"]


def report_workflows_between(tx: Executor, since: datetime | None, until: datetime | None) -> str:
    """`report_workflows` of the executions created in [since, until)."""
    [row] = tx.fetch_all(
        """
        SELECT coalesce(json_agg(row_to_json(x)), '[]')::text AS json FROM (
            SELECT w.name AS workflow_name, count(e.id) AS execution_count,
                avg(e.duration_seconds) AS avg_duration_seconds,
                count(CASE WHEN e.status = 'completed' THEN 1 END) AS successful_count
            FROM public.workflows w
            LEFT JOIN public.workflow_executions e ON w.id = e.workflow_id
                AND (%(since)s::timestamptz IS NULL OR e.created_at >= %(since)s)
                AND (%(until)s::timestamptz IS NULL OR e.created_at < %(until)s)
            GROUP BY w.id, w.name
            ORDER BY execution_count DESC, w.name, w.id
            LIMIT 10
        ) x
        """,
        since=since,
        until=until,
    )
    return row["json"]
