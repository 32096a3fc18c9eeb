"""From profiles to files of rows."""
