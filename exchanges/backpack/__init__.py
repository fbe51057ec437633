"""Backpack Exchange over its REST interface."""
