"""Labels of faces in photos: COCO, LabelMe, Label Studio, YOLO pose and 300-W's .pts files."""
