"""What a finished run is used for: its classifier loaded again, exported, and asked about images."""
