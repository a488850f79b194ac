"""One module per resource; thin: parse, ask the database as the caller, answer."""
