"""Nouns of one image or of one batch: boxes, masks, keypoints, images.

sizes               WidthHeight, HeightWidth
bounding_box        BoxList: the boxes of one image, with fields
boxlist_ops         suppression, overlap, size filter, concatenation of BoxLists
segmentation_mask   SegmentationMask, of polygons or bit masks
keypoint            Keypoints, PersonKeypoints, and what they are: KeypointSchema
image_list          ImageList: images of several sizes in one padded tensor
"""
