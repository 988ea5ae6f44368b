"""Products with a layer's matrix without the matrix: padding, and correlation in several ways."""
