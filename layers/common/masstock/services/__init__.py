"""Calls to services other than the database, and the protection of secrets."""
