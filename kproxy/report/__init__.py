"""Parts that several reports share: paper as wide as the terminal, boards, and pages."""
