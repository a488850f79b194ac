"""Data about image models: providers, prices, limits, retirement."""
