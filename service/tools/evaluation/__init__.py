"""Evaluation: one module a set of recordings; each measures its layer and fits its models."""
