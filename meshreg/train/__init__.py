"""Training recipes: plain loops that read from top to bottom."""
