"""Files on disk: written whole, locked, checked, and read without trust."""
