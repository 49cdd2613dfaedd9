"""Pure functions on predictions: the table of a split, and what can be computed from it."""
