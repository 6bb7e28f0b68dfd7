"""Real servers as ordinary processes on this machine, for tests, benches and development: `make services`.

Never a part of Tallystick itself. One module per server; `server.py` is what they share. Each listens on loopback only,
on a free port, with TLS and a password, and keeps everything under one folder.
"""
