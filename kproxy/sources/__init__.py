"""Sources of objects. A source reads objects, checks them, and sends events to the control loop.

- `files`: manifests in files and folders, watched.
- `api_server`: a Kubernetes API server, watched; `contact` says when it is away.
"""
