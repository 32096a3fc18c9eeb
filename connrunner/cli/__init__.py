"""The command line: the only place that prints and exits. A tick as a clock calls it imports no click."""
