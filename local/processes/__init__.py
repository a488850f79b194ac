"""Processes, ports and files of this machine. Nothing here knows AWS.

- `children`  start and end child processes; free ports
- `leash`     the program that makes a child end with its parent
- `services`  a child that is started again when it dies
- `servers`   an HTTP server in a thread
- `health`    wait until the HTTP API answers
- `postgres`  a PostgreSQL server
- `files`     private files and locks
"""
