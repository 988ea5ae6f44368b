"""Assembly of sparse matrices: the rows of each axis (`rows`), combined and written (`fill`)."""
