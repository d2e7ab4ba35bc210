"""Faces rendered from MakeHuman's free heads (CC0), with exact key points of any set."""
