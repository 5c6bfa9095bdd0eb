"""Streamable HTTP: the application, authentication, request validation, metrics."""
