"""Inspects a data set before training: what is broken, what leaks between splits, and what gives the class away."""
