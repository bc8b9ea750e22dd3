"""For all pure tests."""

from hypothesis import settings

# How long an example may take says nothing but how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
