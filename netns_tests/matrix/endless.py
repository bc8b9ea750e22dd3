"""A measurement without an end, for the test of what becomes of it."""

import time

if __name__ == "__main__":
    time.sleep(600)
