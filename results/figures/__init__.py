"""What people see: plots, and faces drawn on photos and frames."""
