"""What a notebook shows: progress, fleets, reports."""
