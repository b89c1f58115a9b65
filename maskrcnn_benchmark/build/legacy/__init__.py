"""Parts with the signatures of the old project, behind the old import paths below `modeling`.

Each takes a `cfg` and speaks lists of BoxLists; inside are the parts of the padded core, parameter names and all.
"""
