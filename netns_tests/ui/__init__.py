"""The page of a lab, in a real browser."""
