"""Picture and sound: encoder, HDMI input, audio."""
