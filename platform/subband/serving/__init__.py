"""Ray Serve: champions and saved models answer over HTTP."""
