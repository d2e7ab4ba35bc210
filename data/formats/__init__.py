"""Labels of faces in photos: COCO, LabelMe, YOLO pose and 300-W's .pts files."""
