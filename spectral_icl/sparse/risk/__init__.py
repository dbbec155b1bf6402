"""Risks of predictors of sparse regression, in theory."""
