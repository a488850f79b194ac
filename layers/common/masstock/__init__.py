"""The code that all functions share. Importing this package runs no code."""
