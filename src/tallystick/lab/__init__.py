"""Tools that put the whole of Tallystick to the test, shipped because users want them too: demo, benches, kills."""
