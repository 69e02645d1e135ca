"""Modules that a model's own code imports by their documented paths (facts §2.9)."""
