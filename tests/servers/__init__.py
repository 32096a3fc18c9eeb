"""Real servers and programs of partners, for tests; each connector's own is the module of its name."""
