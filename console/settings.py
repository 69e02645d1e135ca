"""Settings: one file, read from the environment (design §6), with embedded defaults."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import dj_database_url
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from console import env

BASE_DIR = Path(__file__).resolve().parent.parent
SLIPWAY_VERSION = "0.1.0"

# Where the installation keeps what changes.
SLIPWAY_VAR = Path(env.text("SLIPWAY_VAR", str(BASE_DIR / "var"))).absolute()
SLIPWAY_RUN = env.run_folder(SLIPWAY_VAR)
SLIPWAY_HOST = env.text("SLIPWAY_HOST", "127.0.0.1")
SLIPWAY_PORT = env.integer("SLIPWAY_PORT", 8000)
SLIPWAY_GATEWAY_PORT = env.integer("SLIPWAY_GATEWAY_PORT", 8080)
SLIPWAY_GATEWAY_URL = env.text("SLIPWAY_GATEWAY_URL", f"http://{SLIPWAY_HOST}:{SLIPWAY_GATEWAY_PORT}")
SLIPWAY_REGION = env.text("SLIPWAY_REGION", "local")
SLIPWAY_INDEX_URL = env.text("SLIPWAY_INDEX_URL")
SLIPWAY_PREDICTOR = BASE_DIR / "deployments" / "predictor"  # started by path, never imported
SLIPWAY_ENVOY = env.text("SLIPWAY_ENVOY")

# Documented limits (facts §2.3, §4.1; design §12).
SLIPWAY_MODEL_BYTES = env.integer("SLIPWAY_MODEL_BYTES", 20 * 1024**3)
SLIPWAY_ARTIFACT_QUOTA_BYTES = env.integer("SLIPWAY_ARTIFACT_QUOTA_BYTES", 0)  # 0: bounded by the disk alone
SLIPWAY_REQUEST_BYTES = env.integer("SLIPWAY_REQUEST_BYTES", 12 * 1024**2)
SLIPWAY_PREDICTION_PAGE_BYTES = env.integer("SLIPWAY_PREDICTION_PAGE_BYTES", 8 * 1024**2)
SLIPWAY_PREDICTION_SECONDS = env.integer("SLIPWAY_PREDICTION_SECONDS", 60)
# The database and the logs live on the same disk: imports leave this much of it free.
SLIPWAY_DISK_FLOOR_BYTES = env.integer("SLIPWAY_DISK_FLOOR_BYTES", 512 * 1024**2)
# Below the time limit of a worker's task.
SLIPWAY_ENVIRONMENT_SECONDS = env.integer("SLIPWAY_ENVIRONMENT_SECONDS", 240)
SLIPWAY_SERVICES_PER_USER = env.integer("SLIPWAY_SERVICES_PER_USER", 20)
SLIPWAY_TRIAL_SECONDS = env.integer("SLIPWAY_TRIAL_SECONDS", 120)
SLIPWAY_TRIAL_MEMORY_BYTES = env.integer("SLIPWAY_TRIAL_MEMORY_BYTES", 4 * 1024**3)
# Directories that local connections may open, and what is beneath them; nothing else of this machine.
SLIPWAY_LOCAL_ROOTS = env.words("SLIPWAY_LOCAL_ROOTS", str(SLIPWAY_VAR / "objects"))

DEBUG = env.flag("SLIPWAY_DEBUG")
SECRET_KEY = env.text("SLIPWAY_SECRET_KEY") or env.kept_secret(SLIPWAY_VAR / "secret.key")
ALLOWED_HOSTS = env.words("SLIPWAY_ALLOWED_HOSTS", f"{SLIPWAY_HOST},localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("SLIPWAY_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "console",
    "registry",
    "deployments",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "csp",
    "django_htmx",
    "template_partials",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.middleware.WorkspaceMiddleware",
    "console.middleware.ProblemMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context_processors.shell",
            ],
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(
        env.text("DATABASE_URL") or f"sqlite:///{quote(str(SLIPWAY_VAR / 'db.sqlite3'))}",
        conn_max_age=60,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that will write takes the lock at its start, so it waits its turn
        # instead of failing half-way when it finds that somebody else wrote meanwhile.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=134217728;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "artifacts": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": SLIPWAY_VAR / "artifacts",
            "file_permissions_mode": 0o400,
            "directory_permissions_mode": 0o700,
        },
    },
}

# How long a worker may be silent before its work is taken back (design §4).
SLIPWAY_LEASE_SECONDS = env.integer("SLIPWAY_LEASE_SECONDS", 60)

# Celery delivers; Operation rows are the truth (design §4).
REDIS_SOCKET = SLIPWAY_RUN / "redis.sock"
REDIS_PASSWORD_FILE = SLIPWAY_VAR / "secrets" / "redis"
REDIS_URL = env.text("REDIS_URL")
if not REDIS_URL:
    # A model process runs under the same user, so the socket alone is no fence: Redis asks a password.
    REDIS_URL = f"unix://:{env.kept_secret(REDIS_PASSWORD_FILE)}@{quote(str(REDIS_SOCKET))}"
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_TIME_LIMIT = 300
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "socket_timeout": 10, "max_retries": 3}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "sweep"
CELERY_TASK_ROUTES = {"registry.*": {"queue": "registry"}, "deployments.*": {"queue": "deployments"}}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "console.sweep", "schedule": 15.0, "options": {"expires": 15}},
    "watch": {"task": "deployments.watch", "schedule": 15.0, "options": {"expires": 15}},
    "tidy": {"task": "registry.tidy", "schedule": 300.0, "options": {"expires": 300}},
}

# Sign-in.
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SLIPWAY_ADMIN_PASSWORD = env.text("SLIPWAY_ADMIN_PASSWORD")
SLIPWAY_SIGN_IN_LINK_SECONDS = 3600
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# Over TLS the cookies and redirects tighten; the embedded stack on loopback speaks plain HTTP.
SLIPWAY_TLS = env.flag("SLIPWAY_TLS")
SESSION_COOKIE_NAME = "slipway_session"
CSRF_COOKIE_NAME = "slipway_csrf"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = SLIPWAY_TLS
SECURE_HSTS_SECONDS = 31536000 if SLIPWAY_TLS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SLIPWAY_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "console.views.csrf_failure"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = SLIPWAY_PREDICTION_PAGE_BYTES + 1024**2

# Languages.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LANGUAGE_COOKIE_NAME = "slipway_language"
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOCALE_PATHS = [BASE_DIR / "console" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.text("TZ", "UTC") or "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = SLIPWAY_VAR / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("SLIPWAY_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
    },
}
