"""WPFormer: a query transformer that segments defects pixel by pixel, with a published and a corrected mode."""
