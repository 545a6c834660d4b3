"""Images and charts."""
