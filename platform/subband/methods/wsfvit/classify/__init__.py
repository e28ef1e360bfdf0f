"""Classification with WSF-ViT: thirteen published sizes, trained from random weights or a checkpoint."""
