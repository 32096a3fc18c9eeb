"""The processes that send: mail and pings."""
