"""Work that is divided among Ray workers."""
