"""What all tests share."""

from hypothesis import settings

# No deadline for an example: tests run beside each other on small machines, where a slow moment proves nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
