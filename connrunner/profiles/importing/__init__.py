"""From files of rows to profiles."""
