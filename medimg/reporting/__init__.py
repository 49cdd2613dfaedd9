"""Figures from what a run measured."""
