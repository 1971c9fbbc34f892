"""Results -> what people look at. Computes nothing."""
