"""Champions: refitted or trained, proven to give the evaluated values, and registered."""
