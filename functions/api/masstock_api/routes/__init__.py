"""One module per resource. Handlers parse the request, run queries as the caller and answer."""
