"""The formats of files with rows, each read into the same shape."""
