"""All SQL of the functions: one module per table, one function per statement."""
