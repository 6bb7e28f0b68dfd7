"""What a webhook is, for both of its ends: signature, types, JSON. Pure; notifier, gateway and SDK share it.

Source: Standard Webhooks 1.0.0 (standardwebhooks.com), cited as SW.
"""
