"""Connections to databases that other rooms share: where one is, how its certificate is verified, what it is called."""

CONNECT = 10  # seconds for making a connection
SILENCE = 60  # seconds without a byte, beyond the time that a statement may take
