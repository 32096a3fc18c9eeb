"""connrunner: a declarative batch runner for connections."""

__version__ = "0.1.0"
