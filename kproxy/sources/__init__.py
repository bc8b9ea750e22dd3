"""Where objects come from. A source reads, checks, and sends events to the control loop.

- `files`: manifests in files and folders, watched.
"""
