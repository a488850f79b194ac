"""The Postgres connection, its transactions and the SQL statements."""
