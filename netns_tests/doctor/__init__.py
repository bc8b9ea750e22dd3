"""`kproxy doctor`: faults in real labs, each found, and nothing else."""
