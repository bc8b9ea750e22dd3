"""A measurement without an end, for a test of killing it."""

import time

if __name__ == "__main__":
    time.sleep(600)
