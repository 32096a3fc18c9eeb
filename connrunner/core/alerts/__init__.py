"""Whom to tell what, and when: decided from what was told before."""
