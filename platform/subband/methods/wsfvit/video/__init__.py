"""Video prediction with WSF-ViT: a frame encoder, a translator of two WSF-ViT blocks over all frames at once, and a decoder."""
