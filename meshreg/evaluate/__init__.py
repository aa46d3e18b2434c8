"""Measuring a regressor on a data set, by rules that have a name."""
