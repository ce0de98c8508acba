# The image of the API and of the scripts in bin/, with the packages of requirements-runtime.txt only.
FROM python:3.11-slim-bookworm AS packages

COPY requirements-runtime.txt /tmp/
# The environment has no pip, so that nobody can install packages in a running container.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --requirement /tmp/requirements-runtime.txt


FROM python:3.11-slim-bookworm

# Compose mounts a volume on this folder. A new volume takes its owner from the folder.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cruddur \
 && install --directory --owner=cruddur --group=cruddur --mode=0700 /var/lib/cruddur

COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/cruddur
COPY app.py asgi.py openapi.yaml serve.py ./
COPY aws/lambdas/message_stream aws/lambdas/message_stream
COPY bin bin
COPY db db
COPY lib lib
COPY routes routes
COPY services services
COPY tools tools
COPY web web

# The base image has no bytecode, and the API's user cannot write any.
RUN /opt/venv/bin/python -m compileall -q /usr/local/lib/python3.11 /opt/venv/lib .

ENV PATH=/opt/venv/bin:$PATH \
    CRUDDUR_PYTHON=/opt/venv/bin/python \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=4567

USER 10001
EXPOSE 4567
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/health-check', timeout=2)"]
CMD ["python", "serve.py"]
