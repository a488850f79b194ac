"""The last step of an execution, and the sweep."""
