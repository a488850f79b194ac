"""The economy tier: jobs of a provider's batch interface paint chunks of an execution's prompts."""
