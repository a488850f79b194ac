"""Everything outside the database that the functions talk to, and how they protect secrets."""
