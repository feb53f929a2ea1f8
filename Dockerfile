# syntax=docker/dockerfile:1
# Two images of the same code: `serve` for web, worker, beat and release, without TensorFlow, and `all`, which can train
# as well. See docs/deploy.md.
#
#   docker build --target serve --tag letterloop:serve .
#   docker build --tag letterloop:all .

# The Python that the tests run on.
FROM python:3.11.14-slim-bookworm AS python
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1 \
    PATH=/opt/letterloop/bin:$PATH

# --- What is installed: only pinned versions, in turn as well ---
FROM python AS serve-packages
WORKDIR /build
COPY requirements-serve.txt requirements.lock ./
RUN python -m venv /opt/letterloop \
    && pip install --no-cache-dir --prefer-binary -c requirements.lock -r requirements-serve.txt

FROM serve-packages AS all-packages
COPY requirements.txt ./
RUN pip install --no-cache-dir --prefer-binary -c requirements.lock -r requirements.txt

# --- The code, which nobody in the container can change, and folders for what the site writes. Two of them are open to
# whatever user a platform runs the image as: Heroku takes one of its own. ---
FROM python AS code
WORKDIR /srv/letterloop
COPY . ./
COPY --from=serve-packages /opt/letterloop /opt/letterloop
# The settings of a site that is not one: no secret of it stays in the image.
RUN LETTERLOOP_ENV=embedded VAR_DIR=/build python manage.py collectstatic --no-input \
    && python -m compileall -q letters ml webapp manage.py deploy \
    && mkdir -p /var/lib/letterloop/media \
    && mkdir -m 1777 /var/lib/letterloop/cache /var/lib/letterloop/runs \
    && mv /build/static /var/lib/letterloop/static \
    && rm -r /build

FROM python AS base
RUN groupadd --system --gid 10001 letterloop \
    && useradd --system --uid 10001 --gid letterloop --no-create-home --home-dir /tmp --shell /usr/sbin/nologin letterloop
COPY --from=code /srv/letterloop /srv/letterloop
COPY --from=code /var/lib/letterloop/static /var/lib/letterloop/static
COPY --from=code --chown=letterloop:letterloop /var/lib/letterloop/cache /var/lib/letterloop/cache
COPY --from=code --chown=letterloop:letterloop /var/lib/letterloop/media /var/lib/letterloop/media
COPY --from=code --chown=letterloop:letterloop /var/lib/letterloop/runs /var/lib/letterloop/runs
WORKDIR /srv/letterloop
ENV LETTERLOOP_ENV=production \
    VAR_DIR=/var/lib/letterloop \
    HOME=/tmp
USER 10001:10001
EXPOSE 8000
# Of the web process; compose.yaml has one for each role.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "deploy/healthcheck.py", "/healthz"]
CMD ["gunicorn", "webapp.wsgi", "-c", "webapp/gunicorn.py"]

FROM base AS serve
COPY --from=serve-packages /opt/letterloop /opt/letterloop

FROM base AS all
COPY --from=all-packages /opt/letterloop /opt/letterloop
