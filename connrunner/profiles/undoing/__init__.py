"""The values before an import: kept while it merges, put back when it is undone."""
