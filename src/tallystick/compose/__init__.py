"""The composition roots: one module per process, and `library`. Settings in, wired service out.

The only place that names adapters and starts threads.
"""
