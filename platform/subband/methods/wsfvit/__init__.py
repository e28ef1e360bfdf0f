"""WSF-ViT."""
