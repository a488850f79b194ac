"""AWS on this machine.

- `template`, `resources`  what template.yaml declares
- `runtime`, `execution_environment`, `pool`, `event_queue`, `lambda_api`, `credentials`  Lambda
- `http_api`  API Gateway
- `timer`  EventBridge's scheduled rules
- `__main__`  one process with S3, Step Functions and Secrets Manager, made from moto
- `objects`, `checksums`, `step_functions`, `calls`  what that process changes in moto, and its log
  of calls
- `clients`  boto3 clients of these services
- `sam`  `make sam-local`: the built functions in Lambda's containers
"""
