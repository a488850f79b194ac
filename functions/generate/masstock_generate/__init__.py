"""Paints one prompt of an execution."""
