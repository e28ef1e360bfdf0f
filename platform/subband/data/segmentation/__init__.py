"""Images with masks, for methods that learn where the defect is."""
