"""Parts that several reports share: paper of 80 columns, and boards."""
