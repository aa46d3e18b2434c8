"""Geometry on tensors: pure functions with any leading batch dimensions."""
