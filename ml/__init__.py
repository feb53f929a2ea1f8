"""The machine learning of Letterloop: plain Python that knows nothing of Django or Celery."""
