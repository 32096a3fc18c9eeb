"""What connrunner decides: values in, values out; no clock, no files, no environment."""
