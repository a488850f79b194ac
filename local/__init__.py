"""The whole stack on one Linux machine, without Docker and without AWS. For development only.

- `__main__`     the commands: up, down, clean, token, reseal, sam, demo
- `lifecycle`    what these commands do from outside the stack
- `supervisor`   the process that starts every other process and ends them
- `settings`     the environment variables that configure the stack
- `wiring`       what a deployment provides: parameters, secrets, endpoints, environments
- `keys`         secrets and tokens of the stack
- `database`     schema, logins and demo data
- `errors`       errors that end a command; the user sees their one-line message
- `aws/`         Lambda, API Gateway, S3, Step Functions, Secrets Manager, EventBridge rules
- `processes/`   child processes, PostgreSQL, ports, files; knows nothing of AWS
- `image_model/` the stand-in for Google's image model
- `demo/`        `make demo`: prompts in, images out, over the HTTP API
"""
