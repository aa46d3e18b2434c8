"""Clothing labels and the clothing prior of the body's surface."""
