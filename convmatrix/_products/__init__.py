"""Products with a layer's matrix without the matrix: padding, direct and FFT correlation, strips."""
