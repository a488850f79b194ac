"""The prompts of a submission: from its body, from an uploaded file, or made by a template.

- `places`      where each prompt came from, so that a mistake names its line or its pointer
- `csv_files`   a table whose header names the columns
- `text_files`  a prompt a line, or blocks
- `json_lines`  a JSON value a line
- `templates`   one text with variables, and rows of values
- `reading`     chooses among them
"""
