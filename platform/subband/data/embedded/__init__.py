"""The datasets that the package brings: photographs, and images that are drawn when they are read."""
