"""The stand-in for Google's image model.

- `server`        the HTTP server, the rules of /_control and the log of calls
- `replies`       Gemini's requests, replies and errors
- `painter`       the pictures; `compositions` draws and `lettering` fits the prompt
"""
