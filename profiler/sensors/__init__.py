"""Where watts and joules come from: the seam, one file per sensor, and the registry of their names."""
