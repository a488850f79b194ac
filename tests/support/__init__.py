"""Helpers that several test folders share. `bench/` uses some of them too.

databases          migrated PostgreSQL databases, and transactions of their users
demo_data          ids of the rows of sql/seed.sql
postgres_versions  the packaged and the oldest supported PostgreSQL
handler            the api's handler in this process, called over HTTP
tenants            two tenants with a row in every table, and statements that touch these rows
pgbouncer          a PgBouncer in transaction mode
debian             programs from Debian packages, unpacked without installation
wire               a TCP proxy that counts network flights, delays them and cuts connections
web                a web server that answers as badly as a test needs
receiver           a client's webhook receiver
template           template.yaml, transformed and resolved as CloudFormation would do it
fake_provider      an image provider that a test adds to a copied checkout
readme             the commands of the README
seed_queries       the "Common Queries" of the schema document
"""
