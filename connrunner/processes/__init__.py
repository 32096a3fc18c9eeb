"""Programs and process trees."""
