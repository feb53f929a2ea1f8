"""The one Django app: each file is a step of the loop."""
