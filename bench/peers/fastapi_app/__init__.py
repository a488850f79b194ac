"""A FastAPI application for Lambda, as an experienced FastAPI user would write it.

It declares our routes with our schemas. It implements the list of executions, which the rows call.
It leaves out ETags, idempotency keys and signed cursors, which makes it faster, not slower.
"""
