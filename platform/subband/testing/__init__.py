"""The suite that every method of the platform must pass, for use in any test runner."""
