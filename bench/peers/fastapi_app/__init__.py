"""Our routes, our models and our database as somebody who knows FastAPI and its surroundings would
write them for Lambda. What is left out makes it lighter, not slower: ETags, idempotency keys, and
signatures of cursors."""
