"""The demo's own material: a made-up audience, a message for it, and the account that sends it."""
