"""What methods with a memory bank share: params, stages from vectors to maps, the deployable detector.

The bank keeps a subset of the feature vectors of good pictures; a position of a picture is as anomalous as its vector is far from
the nearest vector of the bank. WEDGE-Net and PatchCore differ in the vectors alone.
"""
