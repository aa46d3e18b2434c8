"""Differentiable rasterisation and pictures made with it."""
