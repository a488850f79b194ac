"""The first step of an execution."""
