"""All SQL of the functions, as literals: one module per table, one function per statement."""
