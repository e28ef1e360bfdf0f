"""What methods with a memory bank share: params, stages from vectors to maps, the deployable detector.

The bank keeps a subset of the feature vectors of good images; a position of an image is as anomalous as its vector is far from
the nearest vector of the bank. WEDGE-Net and PatchCore differ in the vectors alone.
"""
