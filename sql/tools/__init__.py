"""Commands that change a database: migrate, adopt, identity key, reseal."""
