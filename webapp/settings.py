"""Settings, read from the environment in this one place. Without any, everything is embedded under var/."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from kombu import Queue

from webapp import logs
from webapp.environment import Reader

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT_READER = read = Reader(BASE_DIR / ".env")

# Many processes share few cores. The threads that OpenBLAS would start in each wait for one another by spinning:
# to place a letter among the reference letters took 22 ms with them on a busy machine, and takes 2 ms without.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported, which is after the settings

VAR_DIR = Path(read.text("VAR_DIR", str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)


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


# What production must not run with is refused by letters.checks, by id, in every process that starts.
HEROKU = read.is_set("DYNO")
ENVIRONMENT = read.choice(
    "LETTERLOOP_ENV",
    "what kind of site this is",
    ("embedded", "production"),
    "production" if HEROKU else "embedded",
)
PRODUCTION = ENVIRONMENT == "production"
DEBUG = read.flag("DEBUG", "whether errors show the inside of the site", default=False)
NO_SECRET = "not set"  # with which no process of a production site goes on, see letters.checks  # noqa: S105
SECRET_KEY = read.text("SECRET_KEY") or (NO_SECRET if PRODUCTION else _embedded_secret())
SECRET_KEY_FALLBACKS = read.listed("SECRET_KEY_FALLBACKS", "earlier secrets that stay good")
ALLOWED_HOSTS = read.hosts(
    "ALLOWED_HOSTS", "the host names of the site", () if PRODUCTION else ("localhost", "127.0.0.1", "[::1]")
)
CSRF_TRUSTED_ORIGINS = read.origins("CSRF_TRUSTED_ORIGINS", "further addresses that forms may come from")
PROXIES = read.whole("PROXIES", "how many proxies of ours add to X-Forwarded-For", 0, most=10)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "django_celery_beat",
    "letters",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "letters.caching.AskAgain",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "letters.request_log.NoteRoute",
    "axes.middleware.AxesMiddleware",  # last: it turns a refused sign-in into a page that says so
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
                "letters.request_log.context",
            ],
        },
    },
]

# --- What holds the data -------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": read.database("DATABASE_URL", f"sqlite:///{VAR_DIR / 'letterloop.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Web and workers write at once: readers beside a writer (WAL), a writer that waits, no upgrade from a read lock.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # What is lost on the way is noticed after seconds, and not after the minutes that the kernel waits by itself.
    DATABASES["default"].setdefault("OPTIONS", {})
    DATABASES["default"]["OPTIONS"] |= {
        "connect_timeout": 2,  # seconds
        "tcp_user_timeout": 5000,  # ms that what was sent may stay without an answer of the other's kernel
        "keepalives_idle": 10,  # seconds
        "keepalives_interval": 2,
    }
DATABASES["default"]["CONN_MAX_AGE"] = read.whole(
    "CONN_MAX_AGE", "seconds that a connection to the database is kept", 60, most=86400
)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = read.url("REDIS_URL", "the broker", ("redis", "rediss")) or _embedded_redis()
if HEROKU and REDIS_URL.startswith("rediss:") and "ssl_cert_reqs" not in REDIS_URL:
    # Its Redis shows a certificate that it signed itself, and its address, which changes, is not for us to write.
    REDIS_URL += ("&" if "?" in REDIS_URL else "?") + "ssl_cert_reqs=none"
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
    bucket = read.bucket("S3_BUCKET")
    endpoint = read.url("S3_ENDPOINT_URL", "where the storage answers, if that is not Amazon's", ("https", "http"))
    region, prefix = read.text("S3_REGION"), read.text("S3_PREFIX")
    # Visitors wait for the web process, and for the worker that reads their letters; it is asked twice.
    usual = 0.8 if "gunicorn" in sys.modules or "inference" in " ".join(sys.argv) else 10.0
    patience = read.seconds("S3_TIMEOUT", "how long the storage may send nothing", usual, most=300)
    if not bucket:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    # Only here: it takes a fifth of a second, and memory.
    from botocore.config import Config  # type: ignore[import-untyped]

    options = {
        "bucket_name": bucket,
        "endpoint_url": endpoint or None,
        "region_name": region or None,
        "location": prefix,
        "file_overwrite": False,  # a name that is taken becomes another, as in a folder
        "max_memory_size": 4 * 1024 * 1024,  # bytes; what is larger is fetched into a temporary file
        "client_config": Config(
            connect_timeout=min(2.0, patience),
            read_timeout=patience,
            retries={"mode": "standard", "total_max_attempts": 2},
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
    "socket_timeout": 1.5,  # seconds; with the rest of the request a visitor is told within 3
    "socket_connect_timeout": 1,
    "max_retries": 0,  # to connect, where a request sends: its visitor tries again. Workers and beat go on trying
    "socket_keepalive": True,
    "global_keyprefix": "letterloop:",
    "visibility_timeout": read.whole(  # a task is claimed: twice does no harm
        "VISIBILITY_TIMEOUT", "seconds after which the broker delivers an unfinished task again", 6 * 3600, least=1
    ),
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # what a Redis without memory refuses would end a worker
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
    "letters.tasks.purge": {"queue": "exports"},
    "letters.tasks.take_census": {"queue": "exports"},
    "letters.tasks.count_days": {"queue": "exports"},
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
CELERY_BEAT_SCHEDULER = "webapp.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {  # what staff may set stands in the database, see letters/migrations/0003
    "Look after what was left undone": {"task": "letters.tasks.watch", "schedule": 10.0, "options": {"expires": 10.0}},
}

# --- Letterloop's own ----------------------------------------------------------------------------------------------

PREDICTION_TIMEOUT = 2.5  # seconds; with the rest of the request a visitor is told within 3
TOKEN_LIFETIME = 3600  # seconds between a prediction and its confirmation
DRAWINGS_PER_DAY = read.whole("DRAWINGS_PER_DAY", "how many drawings of one contributor are kept in 24 hours", 500)
REPORTS_TO_HIDE = read.whole(
    "REPORTS_TO_HIDE",
    "how many networks must report a letter before it is out of view until it is reviewed",
    3,
    least=1,
)
HOLDOUT_SHARE = read.share(
    "HOLDOUT_SHARE", "the share of contributors whose drawings judge models and never train one", 0.1
)
LEARNED_PER_CLASS = read.whole(  # a sample of them, where there are more
    "LEARNED_PER_CLASS", "how many drawings of a class a retraining learns from", 1_000, least=2, most=1_000_000
)
RUN_STALE_AFTER = read.seconds("RUN_STALE_AFTER", "the silence after which a retraining is taken up again", 30.0)
RUN_SILENT_AFTER = read.seconds("RUN_SILENT_AFTER", "the silence of all layers after which a training is ended", 600.0)
MAP_SAMPLE = read.whole(  # without the archive it is the reference alone
    "MAP_SAMPLE", "how many EMNIST letters a map shows", 20_000, least=37, most=1_000_000
)
MAP_COLLECTED = read.whole(  # a sample of them, where there are more
    "MAP_COLLECTED", "how many collected letters a map shows", 5_000, least=37, most=1_000_000
)
MAP_STALE_AFTER = read.seconds("MAP_STALE_AFTER", "the silence after which a map is begun again", 120.0)
CONSENT_VERSION = "2"  # of the words in letters/consent.py
DATA_LICENCE = read.text("DATA_LICENCE", "CC BY 4.0")  # contributors agree to it by name: choose it before they do
PRIVACY_CONTACT = read.text("PRIVACY_CONTACT")  # who answers for the data, with an address; on the page /privacy
BACKUP_DAYS = read.whole("BACKUP_DAYS", "for how many days backups are kept; the page /privacy says so", 0)
BODY_LIMIT = DATA_UPLOAD_MAX_MEMORY_SIZE = 3 * 1024 * 1024  # bytes of any request
STROKES_LIMIT = 256 * 1024  # bytes of a request with strokes
CONTRIBUTOR_COOKIE = "letterloop_contributor"

# --- Who watches ---------------------------------------------------------------------------------------------------

METRICS_TOKEN = read.secret("METRICS_TOKEN", "a word by which /metrics and the details of /readyz are given", least=32)
QUEUE_LIMITS = read.counts(  # of messages that wait; above it /readyz says `degraded`
    "QUEUE_LIMITS",
    "how many messages may wait in each queue",
    {"inference": 50, "examination": 1000, "training": 10, "maps": 50, "exports": 50},
)
WATCH_LIMIT = read.seconds("WATCH_LIMIT", "the silence after which /readyz calls beat, watch or a worker missing", 60.0)

# --- The API -------------------------------------------------------------------------------------------------------

# Of one network, which may be a whole class behind one router; see letters/quotas.py.
QUOTAS: dict[str, tuple[int, int] | None] = {
    "predictions": read.rate(
        "THROTTLE_PREDICTIONS", "predictions of one network", "6000/min"
    ),  # requests, also those that are refused
    "pictures": read.rate("THROTTLE_PICTURES", "uploaded pictures of one network", "120/min"),  # in place of strokes
    "drawings": read.rate("THROTTLE_DRAWINGS", "requests to keep a drawing of one network", "600/min"),  # requests
    "kept": read.rate("THROTTLE_KEPT", "kept drawings of one network", "6000/hour"),  # drawings that are kept
    "reports": read.rate("THROTTLE_REPORTS", "reports of one network", "60/hour"),
    "contributors": read.rate(
        "THROTTLE_CONTRIBUTORS", "new contributors of one network", "240/hour"
    ),  # new ones with a first drawing
    "files": read.rate("THROTTLE_FILES", "files of one network's letters", "240/hour"),  # downloads under Mine
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "letters.api.answers.answer_error",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Letterloop",
    "DESCRIPTION": "Draw a letter, see what the model reads, keep the drawing with its letter.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {  # what several share or call the same; else their names are made of a hash
        "CharacterEnum": "ml.labels.CHARACTERS",
        "DrawingStateEnum": "letters.models.Drawing.State",
        "ExportStateEnum": "letters.models.Export.State",
        "JobStateEnum": "letters.models.TrainingRun.State",  # and of a map
        "LabelEnum": "ml.labels.CLASSES",
    },
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
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600  # seconds; a working day
if PRODUCTION:
    SESSION_COOKIE_NAME = "__Host-sessionid"  # a browser takes it from this very host alone, and by HTTPS alone
SECURE_SSL_REDIRECT = (
    read.flag("SECURE_SSL_REDIRECT", "whether visitors are sent to HTTPS", default=True) and PRODUCTION
)
_hsts = read.whole("SECURE_HSTS_SECONDS", "seconds that browsers ask for HTTPS alone", 3600)
SECURE_HSTS_SECONDS = _hsts if PRODUCTION else 0
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # asked from within, where HTTPS may not reach
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_HANDLER = "letters.logins.Handler"
AXES_FAILURE_LIMIT = 10  # wrong passwords for one account from one network
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_COOLOFF_TIME = timedelta(minutes=30)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # else who goes on guessing shuts the account for ever
AXES_CLIENT_IP_CALLABLE = "letters.addresses.disguised"
AXES_CLIENT_STR_CALLABLE = "letters.logins.in_words"  # how it is named in a line of the log
AXES_LOCKOUT_CALLABLE = "letters.logins.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # of those who signed in
AXES_ENABLE_ADMIN = False  # names that people typed, and perhaps passwords typed for names
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = logs.configuration(read, production=PRODUCTION)
