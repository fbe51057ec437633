"""The Celery side: `celery -A tasks worker`. A few lines each; the work is done in `runner`."""

from tasks.celery import app

__all__ = ["app"]
