from tests.base import warnings_are_errors

# Before any test module imports the library, so that what it does on import is held to the same rule.
warnings_are_errors()
