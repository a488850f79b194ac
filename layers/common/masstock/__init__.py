"""What the functions share. Importing this package runs no code."""
