"""A transaction history drives a platform over HTTP: at its own pace, at a multiple of it, or as fast as it goes."""
