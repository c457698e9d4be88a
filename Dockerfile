# The operator: the controller, ansible-core, ansible-runner and this collection.
#
# BASE_IMAGE is any image with Python 3.11 or newer and its venv module, or a plain Debian or Ubuntu, which gets both.
# Where build/wheelhouse holds the Python packages as wheels, as the role taskflow_operator collects them, nothing but
# Debian's packages is downloaded.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS python
RUN if ! command -v python3 >/dev/null; then \
      apt-get update \
      && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 \
      && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
    fi

FROM python AS venv
RUN if ! python3 -c 'import ensurepip' 2>/dev/null; then \
      apt-get update \
      && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv \
      && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
    fi \
    && python3 -m venv /opt/taskflow

FROM venv AS build
COPY . /src
WORKDIR /src
RUN if [ -d build/wheelhouse ]; then \
      /opt/taskflow/bin/pip install --no-cache-dir --no-index --find-links build/wheelhouse \
        --constraint constraints.txt . ; \
    else \
      /opt/taskflow/bin/pip install --no-cache-dir --use-pep517 --constraint constraints.txt . ; \
    fi
RUN collection=/opt/ansible/collections/ansible_collections/taskflow/operator \
    && mkdir -p "$collection/playbooks" \
    && cp -r galaxy.yml meta plugins "$collection/" \
    && cp playbooks/build.yml playbooks/task.yml "$collection/playbooks/" \
    && cp watches.yaml /opt/ansible/ \
    && mkdir -p /opt/home/.ansible/collections

FROM python
COPY --from=build /opt/taskflow /opt/taskflow
COPY --from=build /opt/ansible /opt/ansible
# Where the Dockerfile of an operator made for the Operator SDK, on top of this one, installs its collections.
COPY --from=build --chown=65532:0 /opt/home /opt/ansible
# HOME is readable, not writable: what a run writes goes to /tmp.
ENV HOME=/opt/ansible \
    PATH=/opt/taskflow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    ANSIBLE_HOME=/tmp/ansible \
    ANSIBLE_LOCAL_TEMP=/tmp/ansible/tmp \
    ANSIBLE_REMOTE_TEMP=/tmp/ansible/tmp \
    ANSIBLE_COLLECTIONS_PATH=/opt/ansible/.ansible/collections:/opt/ansible/collections \
    ANSIBLE_PYTHON_INTERPRETER=/opt/taskflow/bin/python3
WORKDIR /opt/ansible
USER 65532:65532
EXPOSE 6789 8080
ENTRYPOINT ["taskflow-controller"]
CMD ["run"]
