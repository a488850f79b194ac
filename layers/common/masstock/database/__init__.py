"""The Postgres connection, and everything that is said over it."""
