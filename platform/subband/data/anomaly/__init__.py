"""Datasets of inspected products: good images, and defective ones to choose and report by."""
