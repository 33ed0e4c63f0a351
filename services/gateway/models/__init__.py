"""What the gateway shows: one module per resource, as in routes/."""
