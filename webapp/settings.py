"""Settings, read from the environment in this one place. Without any, everything is embedded under var/."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()
env.read_env(BASE_DIR / ".env")

# Many processes share few cores. The threads that OpenBLAS would start in each wait for one another by spinning:
# to place a letter among the reference letters took 22 ms with them on a busy machine, and takes 2 ms without.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported, which is after the settings

VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)


def _choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value: str = env.str(name, default=default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it may be {' or '.join(choices)}")
    return value


def _embedded_secret() -> str:
    """A random key, made once and kept in a file that only its owner reads."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


def _embedded_redis() -> str:
    """Where the Redis that `make run` started answers; the standard address when none was."""
    path = VAR_DIR / "redis" / "url"
    return path.read_text().strip() if path.is_file() else "redis://127.0.0.1:6379/0"


ENVIRONMENT = _choice(
    "LETTERLOOP_ENV", ("embedded", "production"), "production" if "DYNO" in env.ENVIRON else "embedded"
)
PRODUCTION = ENVIRONMENT == "production"
DEBUG = env.bool("DEBUG", default=False)
if PRODUCTION and DEBUG:
    raise ImproperlyConfigured("DEBUG shows visitors the inside of the site: unset it, or LETTERLOOP_ENV=production")
SECRET_KEY = env.str("SECRET_KEY") if PRODUCTION else env.str("SECRET_KEY", default="") or _embedded_secret()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = (
    env.list("ALLOWED_HOSTS") if PRODUCTION else env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PROXIES = env.int("PROXIES", default=0)  # how many proxies of ours add to X-Forwarded-For

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "django_celery_beat",
    "letters",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "webapp.urls"
WSGI_APPLICATION = "webapp.wsgi.application"
APPEND_SLASH = True  # the admin's addresses end with a slash; ours do not
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "letters.views.site",
            ],
        },
    },
]

# --- What holds the data -------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'letterloop.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Web and workers write at once: readers beside a writer (WAL), a writer that waits, no upgrade from a read lock.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="") or _embedded_redis()
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "letterloop",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},  # a visitor waits for this and the broker
    }
}
MEDIA_ROOT = VAR_DIR / "media"  # model artefacts; never served by the site
MODEL_CACHE_DIR = VAR_DIR / "cache" / "models"
RUNS_DIR = VAR_DIR / "runs"  # where retrainings work; empty while none does
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]


def _storage() -> dict[str, Any]:
    """A folder of this machine, or a bucket that all machines share; its keys are AWS_ACCESS_KEY_ID and so on."""
    bucket = env.str("S3_BUCKET", default="")
    if not bucket:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    # Only here: it takes a fifth of a second, and memory.
    from botocore.config import Config  # type: ignore[import-untyped]

    patience = env.float("S3_TIMEOUT", default=10.0)  # seconds without a byte
    options = {
        "bucket_name": bucket,
        "endpoint_url": env.str("S3_ENDPOINT_URL", default="") or None,
        "region_name": env.str("S3_REGION", default="") or None,
        "location": env.str("S3_PREFIX", default=""),
        "file_overwrite": False,  # a name that is taken becomes another, as in a folder
        "max_memory_size": 4 * 1024 * 1024,  # bytes; what is larger is fetched into a temporary file
        "client_config": Config(
            connect_timeout=min(2.0, patience), read_timeout=patience, retries={"mode": "standard", "max_attempts": 2}
        ),
    }
    return {"BACKEND": "webapp.object_storage.ObjectStorage", "OPTIONS": options}


STORAGES = {
    "default": _storage(),
    "staticfiles": {"BACKEND": "webapp.static_files.StaticFiles"},
}

# --- Celery --------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "global_keyprefix": "letterloop:",
    "visibility_timeout": env.int("VISIBILITY_TIMEOUT", default=6 * 3600),  # a task is claimed: twice does no harm
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_POOL_LIMIT = 40  # no less than the threads of a web process
CELERY_TASK_DEFAULT_QUEUE = "training"
CELERY_TASK_QUEUES = [
    # A prediction that its worker took with it is not brought back hours later: its visitor is long gone, and to keep
    # account of it costs two of the three round trips to Redis that a prediction takes in the worker.
    Queue("inference", routing_key="inference", no_ack=True),
    # What is lost of these is sent again from the database, see letters.tasks.watch.
    Queue("examination", routing_key="examination", no_ack=True),
    Queue("training", routing_key="training"),
    Queue("maps", routing_key="maps"),
    Queue("exports", routing_key="exports"),
]
CELERY_TASK_ROUTES = {
    "letters.tasks.predict": {"queue": "inference"},
    "letters.tasks.examine": {"queue": "examination"},
    "letters.tasks.watch": {"queue": "examination"},
    "letters.tasks.place": {"queue": "examination"},
    "letters.tasks.make_maps_on_schedule": {"queue": "examination"},
    "letters.tasks.export": {"queue": "exports"},
    "letters.tasks.make_map": {"queue": "maps"},
    "letters.tasks.follow_model": {"queue": "maps"},
    "letters.tasks.place_pixels": {"queue": "maps"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = True
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 60.0  # seconds; the trainer's processes load what they need first
# Seconds: less than the 12 that letters.processes leaves, and the 30 of Heroku.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10.0
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {  # what staff may set stands in the database, see letters/migrations/0003
    "Look after what was left undone": {"task": "letters.tasks.watch", "schedule": 10.0, "options": {"expires": 10.0}},
}

# --- Letterloop's own ----------------------------------------------------------------------------------------------

PREDICTION_TIMEOUT = 2.5  # seconds; with the rest of the request a visitor is told within 3
TOKEN_LIFETIME = 3600  # seconds between a prediction and its confirmation
DRAWINGS_PER_DAY = env.int("DRAWINGS_PER_DAY", default=500)  # of one contributor
HOLDOUT_SHARE = env.float(
    "HOLDOUT_SHARE", default=0.1
)  # of the contributors: their drawings judge models and never train one
RUN_STALE_AFTER = env.float("RUN_STALE_AFTER", default=30.0)  # seconds of silence, and a retraining is taken up again
RUN_SILENT_AFTER = env.float("RUN_SILENT_AFTER", default=600.0)  # seconds without news of all layers, and it is ended
MAP_SAMPLE = env.int("MAP_SAMPLE", default=20_000)  # EMNIST letters of a map; without the archive the reference alone
MAP_STALE_AFTER = env.float("MAP_STALE_AFTER", default=120.0)  # seconds of silence, and a map is begun again
CONSENT_VERSION = "2"  # of the words in letters/consent.py
DATA_LICENCE = env.str(
    "DATA_LICENCE", default="CC BY 4.0"
)  # contributors agree to it by name: choose it before they do
BODY_LIMIT = DATA_UPLOAD_MAX_MEMORY_SIZE = 3 * 1024 * 1024  # bytes of any request
STROKES_LIMIT = 256 * 1024  # bytes of a request with strokes
CONTRIBUTOR_COOKIE = "letterloop_contributor"

# --- The API -------------------------------------------------------------------------------------------------------


def _rate(name: str, default: str) -> str | None:
    value = env.str(name, default=default)
    return None if value == "none" else value


REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "letters.api.answer_error",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": PROXIES,
    "DEFAULT_THROTTLE_RATES": {
        # an address may be a whole class behind one router
        "predictions": _rate("THROTTLE_PREDICTIONS", "6000/min"),
        "drawings": _rate("THROTTLE_DRAWINGS", "600/min"),
    },
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Letterloop",
    "DESCRIPTION": "Draw a letter, see what the model reads, keep the drawing with its letter.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
}

# --- Security ------------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_HTTPONLY = True
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=3600)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},  # a refused request is the visitor's to read, not the log's
    },
}
