"""Torture: every fault we can make against a whole service under load, and a checker who sees it from outside."""
