"""The other end of the HTTP API: how our own tools, and later the Python SDK, ask and ask again."""
