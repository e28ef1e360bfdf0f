"""Images in which objects are marked by class, box and mask."""
