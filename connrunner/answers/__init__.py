"""What people ask, answered once as values: the command line prints them."""
