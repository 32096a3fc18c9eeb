"""From a workspace folder to checked connections, or to every problem at once."""
