"""Nouns of one image or of one batch: boxes, masks, images.

sizes               WidthHeight, HeightWidth
bounding_box        BoxList: the boxes of one image, with fields
boxlist_ops         suppression, overlap, size filter, concatenation of BoxLists
segmentation_mask   SegmentationMask, of polygons or bit masks
image_list          ImageList: images of several sizes in one padded tensor
"""
