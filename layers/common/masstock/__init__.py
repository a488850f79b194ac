"""The code that the four functions share. Importing this package runs no code."""
