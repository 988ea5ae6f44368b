"""Assembly of sparse matrices: rows of one axis, a plan of what is needed, filled arrays, sparse formats."""
