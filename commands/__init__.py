"""The commands, one per file: each turns its arguments into one typed request and shows what came of it."""
