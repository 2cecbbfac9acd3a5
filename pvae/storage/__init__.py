"""Files on disk: atomic writes, locks, checksums, and safe reading of untrusted files."""
