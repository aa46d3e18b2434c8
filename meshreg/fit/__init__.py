"""Fitting a body to one picture by staged optimisation."""
