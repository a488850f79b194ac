"""The "Common Queries" of the schema document, word for word."""

from typing import LiteralString

USER_WITH_CLIENT: LiteralString = """
SELECT
  u.id,
  u.email,
  u.name,
  u.role,
  u.status,
  c.id AS client_id,
  c.name AS client_name,
  c.email AS client_email
FROM users u
LEFT JOIN clients c ON u.client_id = c.id
WHERE u.id = $1;
"""

EXECUTIONS_WITH_WORKFLOW: LiteralString = """
SELECT
  e.id,
  e.status,
  e.created_at,
  e.duration_seconds,
  w.name AS workflow_name,
  u.name AS user_name,
  c.name AS client_name
FROM workflow_executions e
JOIN workflows w ON e.workflow_id = w.id
JOIN users u ON e.user_id = u.id
JOIN clients c ON e.client_id = c.id
WHERE e.client_id = $1
ORDER BY e.created_at DESC
LIMIT 50;
"""

BATCH_RESULTS: LiteralString = """
SELECT
  id,
  batch_index,
  prompt_text,
  status,
  result_url,
  processing_time_ms,
  error_message
FROM workflow_batch_results
WHERE execution_id = $1
ORDER BY batch_index ASC;
"""

SUCCESS_RATE_BY_CLIENT: LiteralString = """
SELECT
  c.name AS client_name,
  COUNT(e.id) AS total_executions,
  COUNT(CASE WHEN e.status = 'completed' THEN 1 END) AS successful,
  COUNT(CASE WHEN e.status = 'failed' THEN 1 END) AS failed,
  ROUND(
    COUNT(CASE WHEN e.status = 'completed' THEN 1 END)::numeric /
    NULLIF(COUNT(e.id), 0) * 100,
    2
  ) AS success_rate_percent
FROM workflow_executions e
JOIN clients c ON e.client_id = c.id
GROUP BY c.id, c.name
ORDER BY total_executions DESC;
"""

TOP_WORKFLOWS: LiteralString = """
SELECT
  w.name AS workflow_name,
  COUNT(e.id) AS execution_count,
  AVG(e.duration_seconds) AS avg_duration_seconds,
  COUNT(CASE WHEN e.status = 'completed' THEN 1 END) AS successful_count
FROM workflows w
LEFT JOIN workflow_executions e ON w.id = e.workflow_id
GROUP BY w.id, w.name
ORDER BY execution_count DESC
LIMIT 10;
"""
