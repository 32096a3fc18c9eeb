"""The process of one run."""
