"""One prompt of an execution becomes one image."""
