"""The stand-in for Google's image model.

- `server`        the HTTP server
- `rules`         the rules of /_control and the log of calls
- `asks`          Gemini's requests, checked by the catalogue of models
- `replies`       Gemini's answers; `errors` its error answers
- `painter`       the pictures; `shapes` has their pixels, `compositions` draws, `lettering` fits
                  the prompt, `encoding` makes the file that carries it
"""
