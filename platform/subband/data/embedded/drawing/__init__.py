"""The images that the platform draws itself: textures, objects and defects, by seed."""
