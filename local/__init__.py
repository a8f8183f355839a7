"""Development equipment: what stands in for the platforms when the product runs on one machine."""
