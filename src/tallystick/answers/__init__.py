"""What the engine tells gateways: a push that may be lost, and a look-up that is always right."""
