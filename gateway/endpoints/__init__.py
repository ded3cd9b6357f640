"""What each path answers. ``answers`` holds what they share."""
