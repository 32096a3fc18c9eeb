"""Small rules of writing and reading text that every room needs."""
