"""What is due, what a change does, and why a run did or did not start."""
