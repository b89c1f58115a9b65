"""The network, as parts that take explicit arguments: backbones, proposals, pooling, heads, detectors."""
