"""Verbs on tensors: boxes, overlap, suppression, matching, sampling, pooling, masks, losses, norms.

Pure functions and small layers without any knowledge of images, configs or files.
"""
