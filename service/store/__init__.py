"""Tables and every query. Nothing here can open a sealed record."""
