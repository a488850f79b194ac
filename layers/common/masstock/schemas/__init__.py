"""Schemas: requests and responses of the api, payloads of the state machine (engine), and the
`config` column of a workflow (workflow_config)."""
