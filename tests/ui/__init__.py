"""The page of a lab, without a lab and without a browser."""
