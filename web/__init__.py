"""The HTTP API, and what serves the dashboard. Knows no Celery: what it writes to Redis moves the workers."""
