"""Regressors: from a picture of a person to the parameters of a body."""
