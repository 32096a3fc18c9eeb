"""The page: what `connrunner web` serves and `connrunner site` writes."""
