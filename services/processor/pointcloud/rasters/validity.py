"""What the second band of a raster of heights says of each cell."""

VOID, MEASURED, INTERPOLATED = 0, 1, 2

VALIDITY = "validity: 0 void, 1 measured, 2 interpolated"
"""The band's name, which tells readers of the raster alone."""
