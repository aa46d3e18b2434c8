"""The rasteriser in plain torch: for machines without Warp, and in float64 as a reference."""
