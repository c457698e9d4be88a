"""The fork server's side of warm runs, the only part that imports ansible-core."""
