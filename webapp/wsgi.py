"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

_django = get_wsgi_application()

from letters.body_limit import BodyLimit  # noqa: E402 - these need what Django set up
from letters.request_log import RequestLog  # noqa: E402

application = RequestLog(BodyLimit(_django))
