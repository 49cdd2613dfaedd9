"""Measurements of medimg that take minutes or hours, apart from the tests."""
