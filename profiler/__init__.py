"""Engine -> profile: the measurement plan, the one loop, sensors, estimators, and the versioned result."""
