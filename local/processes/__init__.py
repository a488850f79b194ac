"""Processes of this machine: starting, ending, serving."""
