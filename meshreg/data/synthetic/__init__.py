"""Dressed people with exact labels, made on the fly."""
