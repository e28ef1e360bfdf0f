"""What a sweep explores: one readable file a method."""
