"""Progress shown, logged or handed on by other libraries: a file for each. None is imported before it is asked for."""
