"""How heads are turned: from key points and the mean head to yaw, pitch and roll."""
