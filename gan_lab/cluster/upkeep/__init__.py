"""What keeps a workspace well: `doctor` examines it, `cleaning` removes what is old."""
