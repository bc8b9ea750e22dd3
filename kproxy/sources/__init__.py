"""Sources of objects. A source reads objects, checks them, and sends events to the control loop.

- `files`: manifests in files and folders, watched.
"""
