"""The stand-in image model."""
