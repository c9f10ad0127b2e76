"""The care of a workspace: `doctor` examines it, `cleaning` removes the old, `overview` tells."""
