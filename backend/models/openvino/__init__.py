"""The CPU engine: an encoder version made ready for OpenVINO, once, and kept beside it.

`library` is the seam on OpenVINO and NNCF, which may be missing; `build` makes an engine out of a
version and refuses one that finds less; `cache` keeps it and says when it is of no use any more;
`forward` runs it.
"""
