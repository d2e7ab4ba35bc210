"""Photos and videos: reading and writing them, crops of faces."""
