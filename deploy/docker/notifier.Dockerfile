# Tells people and programs that jobs have ended. Build from the project's folder:
#     docker build -f deploy/docker/notifier.Dockerfile -t pointmill-notifier .
ARG BASE=python:3.11-slim

FROM ${BASE} AS packages
# For a network whose proxy signs with a certificate of its own; it stays out of the image.
ARG PIP_CERT
COPY requirements/notifier.txt /tmp/requirements.txt
RUN python -m venv /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --no-input --require-hashes -r /tmp/requirements.txt

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pointmill-notifier" \
      org.opencontainers.image.description="Pointmill's mails and webhooks" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NOTIFIER_HOST=0.0.0.0 \
    NOTIFIER_PORT=8082
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY sql/ sql/
COPY shared/ shared/
COPY services/__init__.py services/
COPY services/notifier/ services/notifier/
USER 10001:10001
EXPOSE 8082
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['NOTIFIER_PORT'] + '/livez', timeout=4)"]
CMD ["python", "-m", "services.notifier"]
