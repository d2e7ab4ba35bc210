"""Head pose: yaw, pitch and roll from key points and the mean head."""
