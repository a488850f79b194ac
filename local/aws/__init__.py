"""AWS on this machine: Lambda, API Gateway, S3, Step Functions and Secrets Manager."""
