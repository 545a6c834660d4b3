"""Files: atomic writes, checksums, downloads."""
