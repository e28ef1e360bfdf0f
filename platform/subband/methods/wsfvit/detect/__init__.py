"""Object detection with WSF-ViT: Mask R-CNN and Cascade Mask R-CNN on its four stages."""
