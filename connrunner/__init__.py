"""connrunner: a declarative batch runner for connections."""

__version__ = "0.2.0"
