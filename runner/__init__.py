"""The shell that joins state, strategies and exchanges. It knows no Celery."""
