"""The stand-in for Google's image model.

- `server`        the HTTP server
- `model`         the controls in force, and the log of calls
- `control`       the body of /_control: `rules`, `limits`, `outages`; `members` reads their members
- `asks`          Gemini's requests, checked by the catalogue of models
- `replies`       Gemini's answers; `errors` its error answers
- `painter`       the pictures; `shapes` has their pixels, `compositions` draws, `lettering` fits
                  the prompt, `encoding` makes the file that carries it
"""
