"""② Requests, durable before anyone is told yes."""
