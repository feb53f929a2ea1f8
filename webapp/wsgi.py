"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from letters.body_limit import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

application = BodyLimit(get_wsgi_application())
